"""Handlers: the functions that do the work, and how they are to be run."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from osqueue.context import JobContext
from osqueue.errors import ConfigError
from osqueue.registry import JobType

RunsIn = Literal["auto", "loop", "thread", "process"]

ANY_TYPE = "*"
"""Stands for jobs of every type, those without one included."""

F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P")
R = TypeVar("R")
S = ParamSpec("S")


@dataclass(slots=True)
class Handler:
    """A function that does jobs of one type: `function(payload)` or `function(payload, context)`, with whatever else
    is provided (`osqueue.dependencies`).

    `runs_in` "loop" is for coroutine functions, "thread" for functions that block, "process" for those that compute;
    "auto" chooses between the first two. `concurrency` gives the type slots of its own, beside the worker's. An
    exception of a class in `fatal` is not tried again.
    """

    function: Callable[..., Any]
    runs_in: RunsIn = "auto"
    concurrency: int | None = None
    fatal: tuple[type[BaseException], ...] = ()


@dataclass(slots=True)
class BoundHandler:
    """A handler and the job type it is for, checked."""

    job_type: JobType[Any, Any]
    function: Callable[..., Any]
    runs_in: Literal["loop", "thread", "process"]
    takes_context: bool
    concurrency: int | None
    fatal: tuple[type[BaseException], ...]
    wants: tuple[str, ...] = ()
    """Parameters that may be of types that are provided."""
    context_name: str = ""
    injected: Mapping[str, Any] = field(default_factory=dict)
    """The parameters that are provided, by name, with their types: known when the worker runs."""


def bind(job_type: JobType[Any, Any], handler: Handler | Callable[..., Any]) -> BoundHandler:
    """Check a handler before any job is claimed for it. `ConfigError` says what is wrong."""
    if not isinstance(handler, Handler):
        handler = Handler(handler)
    function = handler.function
    name = getattr(function, "__qualname__", repr(function))
    if not callable(function):
        raise ConfigError(f"the handler of {job_type.name!r} is not a function: {function!r}")
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is a coroutine function
    )
    runs_in = handler.runs_in
    if runs_in == "auto":
        runs_in = "loop" if is_coroutine else "thread"
    elif runs_in == "loop" and not is_coroutine:
        raise ConfigError(f"{name} is not a coroutine function and cannot run in the event loop; use runs_in='thread'")
    elif runs_in != "loop" and is_coroutine:
        raise ConfigError(f"{name} is a coroutine function, so it runs in the event loop, not in a {runs_in}")
    if runs_in == "process":
        _check_importable(function, name)
    if handler.concurrency is not None and handler.concurrency < 1:
        raise ConfigError(f"the concurrency of {name} must be at least 1, got {handler.concurrency}")
    fatal = handler.fatal
    if not isinstance(fatal, tuple) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in fatal
    ):
        raise ConfigError(f"the fatal of {name} must be classes of exceptions: fatal=(ValueError,), got {fatal!r}")
    takes_context, wants, context_name = _parameters(function, name)
    return BoundHandler(
        job_type, function, runs_in, takes_context, handler.concurrency, fatal, wants=wants, context_name=context_name
    )


def _parameters(function: Callable[..., Any], name: str) -> tuple[bool, tuple[str, ...], str]:
    """Whether it takes a context by its position, which of its parameters may be provided, and the context's name."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin that tells nothing about itself takes the payload
        return False, (), ""
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in positional if one.default is one.empty]
    keyword = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    beside = required[1:] + keyword
    contexts = [one for one in beside if one.annotation is one.empty or _is_context(one.annotation)]
    if any(one.annotation is one.empty for one in keyword):
        raise ConfigError(
            f"{name} has required keyword-only parameters; a handler is called with (payload, context), and with what "
            "is provided by the annotation of its parameter"
        )
    if len(contexts) > 1 or (not positional and not any(one.kind is one.VAR_POSITIONAL for one in parameters)):
        raise ConfigError(f"{name} must take (payload) or (payload, context), and what is provided by its annotation")
    wants = tuple(one.name for one in beside if one not in contexts)
    return len(required) == 2 and not keyword, wants, contexts[0].name if contexts else ""


def _is_context(annotation: Any) -> bool:
    return annotation is JobContext or (isinstance(annotation, str) and annotation.split(".")[-1] == "JobContext")


def _check_importable(function: Callable[..., Any], name: str) -> None:
    if "<locals>" in name or "<lambda>" in name or not hasattr(function, "__qualname__"):
        raise ConfigError(f"{name} cannot be imported by another process: define it at the top level of a module")


class HandlerDecorator(Protocol[P, R]):
    """What `worker.handler(...)` returns: it registers a function and leaves it as it is."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[P, S], Coroutine[Any, Any, R]], /
    ) -> Callable[Concatenate[P, S], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[P, S], Awaitable[R]], /
    ) -> Callable[Concatenate[P, S], Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[P, S], R], /) -> Callable[Concatenate[P, S], R]: ...

"""What handlers are given beside their payload, by the annotation of the parameter.

    @worker.provide
    async def pool() -> AsyncIterator[Pool]:            # once for the worker, closed when it has ended
        async with connect() as pool:
            yield pool

    @worker.provide(scope="job")
    async def session(pool: Pool, context: JobContext) -> AsyncIterator[Session]:   # anew for each job
        async with pool.session() as session:
            yield session

    @worker.handler("email")
    async def send(payload: Email, session: Session) -> None: ...

A provider returns what it provides, or yields it once; it may be a coroutine function, and may want other things
provided. A job's exception reaches the providers that wait at their `yield`. All run in the worker's event loop.
"""

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from osqueue.context import JobContext
from osqueue.errors import ConfigError
from osqueue.handlers import BoundHandler
from osqueue.runners.base import Runner

Scope = Literal["worker", "job"]

_YIELDING = (AsyncIterator, AsyncGenerator, Iterator, Generator)


@dataclass(slots=True, frozen=True)
class _Provider:
    function: Callable[..., Any]
    scope: Scope
    wants: Mapping[str, Any]
    """The types of its parameters, by their names."""


class Dependencies:
    """Providers by what they provide, and what those of the worker have provided."""

    def __init__(self, given: Mapping[Any, Any]) -> None:
        self._providers: dict[Any, _Provider] = {}
        self._given = given
        """What there is without a provider."""
        self._made: dict[Any, Any] = {}
        self._open = AsyncExitStack()

    def add(self, function: Callable[..., Any], scope: Scope) -> None:
        """`ConfigError` says what is wrong with it."""
        name = getattr(function, "__qualname__", repr(function))
        if not callable(function):
            raise ConfigError(f"a provider must be a function, got {function!r}")
        if scope not in ("worker", "job"):
            raise ConfigError(f"the scope of {name} must be 'worker' or 'job', got {scope!r}")
        hints = _hints(function, f"the provider {name}")
        made = hints.pop("return", None)
        if typing.get_origin(made) in _YIELDING:
            made = typing.get_args(made)[0]
        if made is None or made is type(None):
            raise ConfigError(f"the provider {name} does not say what it provides: def {name}(...) -> Database")
        if made in self._providers or made in self._given or made is JobContext:
            raise ConfigError(f"{_named(made)} is provided already; {name} cannot provide it, too")
        wants = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is parameter.empty:
                if parameter.name not in hints:
                    raise ConfigError(f"the parameter {parameter.name} of the provider {name} has no annotation")
                wants[parameter.name] = hints[parameter.name]
        self._providers[made] = _Provider(function, scope, wants)

    def check(self, handlers: Iterable[BoundHandler]) -> None:
        """`ConfigError` for what nobody provides. Handlers are told what they are given."""
        for made in self._providers:
            self._check_provider(made, ())
        for handler in handlers:
            if handler.wants:
                self._check_handler(handler)

    def _check_provider(self, made: Any, path: tuple[Any, ...]) -> None:
        if made in path:
            raise ConfigError(f"providers want each other: {' -> '.join(map(_named, (*path, made)))}")
        provider = self._providers[made]
        for name, wanted in provider.wants.items():
            by = f"the parameter {name} of the provider of {_named(made)}"
            if wanted in self._providers:
                self._check_provider(wanted, (*path, made))
            elif wanted is not JobContext and wanted not in self._given:
                raise ConfigError(f"nothing provides {_named(wanted)} for {by}: add one with @worker.provide")
            of_a_job = wanted is JobContext or (wanted in self._providers and self._providers[wanted].scope == "job")
            if provider.scope == "worker" and of_a_job:
                raise ConfigError(
                    f"{by} is there for a job only, and {_named(made)} is provided for the worker: "
                    "write @worker.provide(scope='job')"
                )

    def _check_handler(self, handler: BoundHandler) -> None:
        name = getattr(handler.function, "__qualname__", repr(handler.function))
        try:
            hints = _hints(handler.function, f"the handler {name}")
        except ConfigError:
            if not handler.takes_context:
                raise
            hints = {}  # a context, called by a name that only type checkers know
        injected = {}
        for wanted in handler.wants:
            made = hints.get(wanted)
            if made in self._providers or made in self._given:
                injected[wanted] = made
        missing = [wanted for wanted in handler.wants if wanted not in injected]
        if missing and not (handler.takes_context and not injected):  # else it is a context by another name
            made = _named(hints.get(missing[0]))
            raise ConfigError(
                f"nothing provides {made} for the parameter {missing[0]} of the handler {name}: "
                "add a provider with @worker.provide"
            )
        if injected and handler.runs_in == "process":
            raise ConfigError(f"{name} runs in a process of its own, where nothing can be provided: make it there")
        handler.injected = injected

    async def open(self) -> None:
        """Make what is there for the worker."""
        try:
            for made, provider in self._providers.items():
                if provider.scope == "worker":
                    await self._make(made, self._made, self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close what was made for the worker, the last first; idempotent."""
        self._made = {}
        stack = self._open.pop_all()
        await stack.aclose()

    @asynccontextmanager
    async def for_job(self, handler: BoundHandler, context: JobContext) -> AsyncIterator[dict[str, Any]]:
        """What its parameters are given by name, made for the job or the worker."""
        async with AsyncExitStack() as stack:
            made = {**self._made, JobContext: context}
            yield {name: await self._make(wanted, made, stack) for name, wanted in handler.injected.items()}

    async def _make(self, wanted: Any, made: dict[Any, Any], stack: AsyncExitStack) -> Any:
        if wanted in made:
            return made[wanted]
        if wanted in self._given:
            return self._given[wanted]
        provider = self._providers[wanted]
        arguments = {name: await self._make(each, made, stack) for name, each in provider.wants.items()}
        function = provider.function
        if inspect.isasyncgenfunction(function):
            value = await stack.enter_async_context(asynccontextmanager(function)(**arguments))
        elif inspect.isgeneratorfunction(function):
            value = stack.enter_context(contextmanager(function)(**arguments))
        else:
            value = function(**arguments)
            if inspect.isawaitable(value):
                value = await value
        made[wanted] = value
        return value


class InjectingRunner:
    """Gives a handler what it wants, and runs it where it runs."""

    def __init__(self, inner: Runner, dependencies: Dependencies) -> None:
        self._inner = inner
        self._dependencies = dependencies
        self.interruptible = inner.interruptible

    async def run(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        async with self._dependencies.for_job(handler, context) as arguments:
            if handler.context_name:
                arguments[handler.context_name] = context
            function = partial(handler.function, **arguments)
            return await self._inner.run(replace(handler, function=function, takes_context=False), payload, context)

    def ask_to_stop(self, context: JobContext) -> None:
        self._inner.ask_to_stop(context)

    async def close(self) -> None:
        """The inner one is closed by whoever made it."""


def _hints(function: Callable[..., Any], what: str) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        return typing.get_type_hints(target)
    except Exception as error:
        raise ConfigError(f"the annotations of {what} cannot be read: {error}") from error


def _named(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)

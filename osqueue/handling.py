"""What a worker does with which jobs: its handlers, tasks, and what runs around them."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from osqueue.client import OsqueueClient
from osqueue.dependencies import Dependencies, Scope
from osqueue.errors import ConfigError
from osqueue.handlers import ANY_TYPE, BoundHandler, Handler, HandlerDecorator, RunsIn, bind
from osqueue.middleware import Around, Middleware
from osqueue.registry import JobType
from osqueue.tasks import Task, TaskDecorator, UntypedTaskDecorator, type_of

P = TypeVar("P")
R = TypeVar("R")
S = ParamSpec("S")
F = TypeVar("F", bound=Callable[..., Any])


class Provides(Protocol):
    """What `worker.provide(scope=...)` returns: it adds a provider and leaves it as it is."""

    def __call__(self, function: F, /) -> F: ...


class Handling:
    """The part of a worker that is said before it runs."""

    client: OsqueueClient

    def __init__(self, given: Mapping[Any, Any] | None = None) -> None:
        given = {} if given is None else given
        self.around = Around()
        self.dependencies = Dependencies(given)
        self._handlers: dict[str, BoundHandler] = {}
        self._status = "idle"

    def add(self, job_type: str | JobType[Any, Any], handler: Callable[..., Any] | Handler) -> None:
        """Have jobs of this type ("*": of any) done by this handler. `ConfigError` says what is wrong with it."""
        if self._status != "idle":
            raise ConfigError("the worker runs already; add handlers before")
        name = self._name(job_type)
        if name in self._handlers:
            raise ConfigError(f"job type {name!r} has a handler already")
        registry = self.client.registry
        bound = bind(registry.get(job_type if name == ANY_TYPE else registry.known(job_type)), handler)
        if name == ANY_TYPE and bound.concurrency is not None:
            raise ConfigError("a handler for any type has no slots of its own: set the worker's concurrency")
        self._handlers[name] = bound

    @overload
    def handler(
        self,
        job_type: JobType[P, R],
        *,
        runs_in: RunsIn = ...,
        concurrency: int | None = ...,
        fatal: tuple[type[BaseException], ...] = ...,
    ) -> HandlerDecorator[P, R]: ...
    @overload
    def handler(
        self,
        job_type: str,
        *,
        runs_in: RunsIn = ...,
        concurrency: int | None = ...,
        fatal: tuple[type[BaseException], ...] = ...,
    ) -> HandlerDecorator[Any, Any]: ...
    def handler(
        self,
        job_type: Any,
        *,
        runs_in: RunsIn = "auto",
        concurrency: int | None = None,
        fatal: tuple[type[BaseException], ...] = (),
    ) -> Any:
        """Decorate a function to be the handler of a job type; `Handler` explains the options."""
        if not isinstance(job_type, str | JobType):
            name = getattr(job_type, "__name__", repr(job_type))
            raise ConfigError(
                f'the handler {name} is for no job type: write @worker.handler("email"), with the name or the JobType '
                "in parentheses"
            )

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.add(job_type, Handler(function, runs_in, concurrency, fatal))
            return function

        return register

    @overload
    def task(
        self, function: Callable[Concatenate[P, S], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, S, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[Concatenate[P, S], R], /) -> Task[P, R, S, R]: ...
    @overload
    def task(
        self,
        job_type: JobType[P, R],
        /,
        *,
        runs_in: RunsIn = ...,
        concurrency: int | None = ...,
        fatal: tuple[type[BaseException], ...] = ...,
    ) -> TaskDecorator[P, R]: ...
    @overload
    def task(
        self,
        job_type: str | None = ...,
        /,
        *,
        runs_in: RunsIn = ...,
        concurrency: int | None = ...,
        fatal: tuple[type[BaseException], ...] = ...,
    ) -> UntypedTaskDecorator: ...
    def task(
        self,
        job_type: Any = None,
        /,
        *,
        runs_in: RunsIn = "auto",
        concurrency: int | None = None,
        fatal: tuple[type[BaseException], ...] = (),
    ) -> Any:
        """Decorate a function to be a `Task`: the handler of a job type that can submit itself. Without a name, or
        without parentheses, the type is called like the function; types that the registry does not have are as
        the function's annotations say."""

        def register(function: Callable[..., Any]) -> Any:
            kind = job_type
            if not isinstance(kind, JobType):
                name = kind or function.__name__
                registry = self.client.registry
                kind = registry[name] if name in registry else type_of(function, name)
            task = Task(function, kind, self.client)
            self.add(kind, Handler(task if runs_in == "process" else function, runs_in, concurrency, fatal))
            return task

        if callable(job_type) and not isinstance(job_type, (str, JobType)):
            function, job_type = job_type, None
            return register(function)
        return register

    def use(self, middleware: Middleware) -> Middleware:
        """Run this around every handler, inside what was added before; `osqueue.middleware` explains. Returns it, so
        that it is a decorator, too."""
        if self._status != "idle":
            raise ConfigError("the worker runs already; add middleware before")
        self.around.add(middleware)
        return middleware

    @overload
    def provide(self, function: F, /) -> F: ...
    @overload
    def provide(self, function: None = None, /, *, scope: Scope = ...) -> Provides: ...
    def provide(self, function: Callable[..., Any] | None = None, /, *, scope: Scope = "worker") -> Any:
        """Decorate a function that makes what handlers want: whatever its annotation says that it returns, or yields,
        is given to parameters with the same annotation. Once for the worker, or anew for each job with scope="job";
        `osqueue.dependencies` explains. Returns the function."""
        if self._status != "idle":
            raise ConfigError("the worker runs already; add providers before")

        def register(function: Any) -> Any:
            self.dependencies.add(function, scope)
            return function

        return register if function is None else register(function)

    @staticmethod
    def _name(job_type: str | JobType[Any, Any]) -> str:
        return job_type.name if isinstance(job_type, JobType) else job_type

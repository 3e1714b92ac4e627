"""Tasks: functions that are handlers and know how to submit themselves.

@worker.task("email")
async def send(payload: Email) -> Receipt: ...

await send.submit(Email(to="ada@example.org"))      # a job
send.delay(Email(to="ada@example.org"))             # a job, from code without an event loop
await send(Email(to="ada@example.org"))             # an ordinary call
"""

import asyncio
import functools
import inspect
import typing
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from osqueue.errors import ConfigError
from osqueue.handle import JobHandle
from osqueue.job import SubmitOptions
from osqueue.registry import JobType

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient
    from osqueue.sync import SyncClient, SyncJobHandle

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")
S = ParamSpec("S")


class Task(Generic[P, R, S, T]):
    """A handler's function with its job type. Called, it is the function."""

    def __init__(
        self, function: Callable[Concatenate[P, S], T], job_type: JobType[P, R], client: "OsqueueClient"
    ) -> None:
        self.function = function
        self.job_type = job_type
        self._client = client
        self._beside: SyncClient | None = None
        functools.update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<task {self.job_type.name!r}: {self.function!r}>"

    def __reduce__(self) -> str:
        return self.function.__qualname__  # another process imports it by its name

    @property
    def name(self) -> str:
        """The name of its job type."""
        return self.job_type.name

    def __call__(self, payload: P, *args: S.args, **kwargs: S.kwargs) -> T:
        return self.function(payload, *args, **kwargs)

    async def submit(self, payload: P, **options: Unpack[SubmitOptions]) -> JobHandle[R]:
        """Put a job into the queue that does this; as `client.submit_job`."""
        return await self._client.submit_job(self.job_type, payload, **options)

    def delay(self, payload: P, **options: Unpack[SubmitOptions]) -> "SyncJobHandle[R]":
        """The same from code without an event loop, such as a handler in a thread, over a connection of its own.
        `ConfigError` where an event loop runs: it would stand still."""
        if asyncio._get_running_loop() is not None:
            name = self.function.__name__
            raise ConfigError(f"{name}.delay(...) would block the event loop: write await {name}.submit(...)")
        if self._beside is None:
            from osqueue.sync import SyncClient

            self._beside = SyncClient.beside(self._client)
        return self._beside.submit_job(self.job_type, payload, **options)


def type_of(function: Callable[..., Any], name: str) -> JobType[Any, Any]:
    """The job type of that name, as the function's annotations have it."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - names that exist for type checkers alone, or whatever else: then it is untyped
        hints = {}
    first = next(iter(inspect.signature(function).parameters), "")
    result = hints.get("return", Any)
    return JobType(name, hints.get(first, Any), Any if result is type(None) else result)


class TaskDecorator(Protocol[P, R]):
    """What `worker.task(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[P, S], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, S, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[P, S], R], /) -> Task[P, R, S, R]: ...


class UntypedTaskDecorator(Protocol):
    """What `worker.task` is for a name alone: payload and result are as the function's annotations have them."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[P, S], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, S, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[P, S], R], /) -> Task[P, R, S, R]: ...

"""What runs around a client's submissions.

    async def tag(jobs: list[JobSpec], proceed: ProceedSubmit) -> list[JobHandle | OsqueueError]:
        for job in jobs:
            job.metadata = {**(job.metadata or {}), "release": RELEASE}
        return await proceed()

    client.use(tag)

It runs once for each `submit_job` and `submit_jobs`, and so for whatever stands on them, such as `task.submit`, with
the jobs of that call, which it may change; what it makes of them is checked like what a caller wrote. A plain function
takes the jobs alone and returns a context manager, or nothing. Both run in the client's event loop, a `SyncClient`'s
with the caller's context variables. Workflows, schedules and follow-ups do not pass.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from osqueue.encoding import to_bytes
from osqueue.errors import ConfigError, OsqueueError
from osqueue.handle import JobHandle
from osqueue.job import JobSpec, SubmitOptions
from osqueue.submission import checked, text

ProceedSubmit = Callable[[], Awaitable[list[JobHandle[Any] | OsqueueError]]]
"""Submits the jobs, and returns a handle or, where each job is for itself, an error in the place of each. Raises what
the call raises."""

AsyncSubmitMiddleware = Callable[[list[JobSpec], ProceedSubmit], Awaitable[list[JobHandle[Any] | OsqueueError]]]
SyncSubmitMiddleware = Callable[[list[JobSpec]], AbstractContextManager[Any] | None]
SubmitMiddleware = AsyncSubmitMiddleware | SyncSubmitMiddleware


class AroundSubmits:
    """A client's middleware, the outermost first."""

    def __init__(self) -> None:
        self._layers: list[AsyncSubmitMiddleware] = []

    def __bool__(self) -> bool:
        return bool(self._layers)

    def add(self, middleware: SubmitMiddleware) -> None:
        """Put it inside all others. `ConfigError` says what is wrong with it."""
        if not callable(middleware):
            raise ConfigError(f"middleware must be a function, got {middleware!r}")
        name = getattr(middleware, "__qualname__", repr(middleware))
        takes = 2 if inspect.iscoroutinefunction(middleware) else 1
        try:
            inspect.signature(middleware).bind(*[None] * takes)
        except TypeError as error:
            raise ConfigError(
                f"the middleware {name} must be `async def {name}(jobs, proceed)`, or a plain function of the jobs: "
                f"{error}"
            ) from error
        if takes == 2:
            self._layers.append(cast(AsyncSubmitMiddleware, middleware))
        else:
            self._layers.append(_entering(cast(SyncSubmitMiddleware, middleware)))

    async def run(
        self, jobs: list[JobSpec], submit: Callable[[list[JobSpec]], Awaitable[list[JobHandle[Any] | OsqueueError]]]
    ) -> list[JobHandle[Any] | OsqueueError]:
        """The submission within all layers."""
        count = len(jobs)

        async def innermost() -> list[JobHandle[Any] | OsqueueError]:
            if len(jobs) != count:
                raise ConfigError(f"submit middleware must leave as many jobs as there were: {count}, not {len(jobs)}")
            for job in jobs:
                check_again(job)
            return await submit(jobs)

        proceed: ProceedSubmit = innermost
        for layer in reversed(self._layers):
            proceed = _within(layer, jobs, proceed)
        answers = await proceed()
        if not isinstance(answers, list) or len(answers) != count:
            raise ConfigError(f"submit middleware must return what `await proceed()` returns, got {answers!r}")
        return answers


def check_again(job: JobSpec) -> None:
    """What was changed since `new_job` must be able to travel, too: `BrokerProtocolError` names what cannot."""
    job.payload = to_bytes(job.payload, "payload")
    job.type = text("type", job.type)
    options = {name: getattr(job, name) for name in SubmitOptions.__annotations__}
    for name, value in checked(options, SubmitOptions).items():
        setattr(job, name, value)


def _within(layer: AsyncSubmitMiddleware, jobs: list[JobSpec], proceed: ProceedSubmit) -> ProceedSubmit:
    return lambda: layer(jobs, proceed)


def _entering(function: SyncSubmitMiddleware) -> AsyncSubmitMiddleware:
    async def entered(jobs: list[JobSpec], proceed: ProceedSubmit) -> list[JobHandle[Any] | OsqueueError]:
        manager = function(jobs)
        if manager is None:
            return await proceed()
        with manager:
            return await proceed()

    return entered

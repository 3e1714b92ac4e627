"""A producer's calls."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from osqueue.calls.base import Calls
from osqueue.errors import OsqueueError
from osqueue.handle import JobHandle
from osqueue.job import JobSpec, SubmitOptions
from osqueue.messages import Submitted
from osqueue.registry import JobType
from osqueue.submission import new_job

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

P = TypeVar("P")
R = TypeVar("R")


class SubmitCalls(Calls):
    """Putting jobs into the queue."""

    @overload
    async def submit_job(
        self, job_type: JobType[P, R], payload: P, **options: Unpack[SubmitOptions]
    ) -> JobHandle[R]: ...
    @overload
    async def submit_job(self, job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> JobHandle[Any]: ...
    async def submit_job(self, job_type: Any, payload: Any, **options: Unpack[SubmitOptions]) -> JobHandle[Any]:
        """Put one job into the queue; returns once it is durable.

        The payload is what the type says, or anything JSON can hold, or bytes. Errors: `BrokerProtocolError` for what
        is wrong with it, `IdempotencyConflictError`, `QueueFullError`, `CodecError`.
        """
        spec = new_job(self.registry.known(job_type), payload, **options)
        if self._around:
            return cast("JobHandle[Any]", (await self._around.run([spec], self._submit_one))[0])
        return cast("JobHandle[Any]", (await self._submit_one([spec]))[0])

    async def _submit_one(self, jobs: list[JobSpec]) -> list[JobHandle[Any] | OsqueueError]:
        session = self._open()
        (spec,) = session.codecs.specs(jobs)
        answer = await session.submits.call(spec, spec.wire_bytes)
        return [_handle(self._client, answer, spec)]

    @overload
    async def submit_jobs(self, jobs: Iterable[JobSpec[R]], *, atomic: Literal[True] = ...) -> list[JobHandle[R]]: ...
    @overload
    async def submit_jobs(self, jobs: Iterable[JobSpec[R]], *, atomic: bool) -> list[JobHandle[R] | OsqueueError]: ...
    async def submit_jobs(self, jobs: Iterable[JobSpec], *, atomic: bool = True) -> Any:
        """Put many jobs, made with `new_job`, into the queue.

        By default all or none, in one commit: at most 1,000 jobs and 4 MiB; what is wrong with any of them is raised.
        With `atomic=False` any number: each job for itself, a handle or an error in its place.
        """
        submit = partial(self._submit_many, atomic=atomic)
        specs = list(jobs)
        return await (self._around.run(specs, submit) if self._around and specs else submit(specs))

    async def _submit_many(self, specs: list[JobSpec], atomic: bool) -> list[JobHandle[Any] | OsqueueError]:
        session = self._open()
        specs = session.codecs.specs(specs)
        handles: list[JobHandle[Any] | OsqueueError] = []
        answers = await (session.submit_all(specs) if atomic else session.submit_each(specs))
        for spec, answer in zip(specs, answers, strict=True):
            if not isinstance(answer, OsqueueError):
                handles.append(_handle(self._client, answer, spec))
            elif atomic:
                raise answer
            else:
                handles.append(answer)
        return handles

    @overload
    async def submit_and_wait(
        self, job_type: JobType[P, R], payload: P, *, wait_ms: int | None = ..., **options: Unpack[SubmitOptions]
    ) -> R: ...
    @overload
    async def submit_and_wait(
        self, job_type: str, payload: object, *, wait_ms: int | None = ..., **options: Unpack[SubmitOptions]
    ) -> Any: ...
    async def submit_and_wait(
        self, job_type: Any, payload: Any, *, wait_ms: int | None = 30_000, **options: Unpack[SubmitOptions]
    ) -> Any:
        """Submit a job and return its result, waiting at most wait_ms (None: for ever).

        Errors as those of `submit_job` and `JobHandle.result`.
        """
        handle = await self.submit_job(job_type, payload, **options)
        return await handle.result(wait_ms)

    @property
    def _client(self) -> "OsqueueClient":
        return cast("OsqueueClient", self)


def _handle(client: "OsqueueClient", answer: Submitted, spec: JobSpec[R]) -> JobHandle[R]:
    return JobHandle(client, answer.job_id, answer.deduplicated, spec.job_type, answer.outcome)

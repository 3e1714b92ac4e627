"""A batch in the hands of a producer: fill it, seal it, follow it to its end."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from osqueue.batch_messages import BatchInfo, OpenBatchRequest
from osqueue.encoding import invalid
from osqueue.handle import JobHandle
from osqueue.job import JobSpec, SubmitOptions
from osqueue.registry import JobType
from osqueue.submission import new_job

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

P = TypeVar("P")
R = TypeVar("R")

_AT_ONCE = 1_000
"""Jobs in one call."""


class Batch:
    """Jobs that are counted together; `on_success`, `on_finished` and `on_first_dead` are submitted exactly once.

        async with client.batch("import", on_finished=new_job(SUMMARY, None)) as batch:
            await batch.submit_jobs(new_job(IMPORT, name) for name in names)
        async for state in batch.progress():
            print(f"{state.ended} of {state.total}")

    It is opened where the block begins and sealed where that ends; if the block raises, it is cancelled.
    """

    def __init__(self, client: "OsqueueClient", request: OpenBatchRequest) -> None:
        self._client = client
        self._request = request
        self._id = ""

    def __repr__(self) -> str:
        return f"Batch({self._id!r})"

    @property
    def id(self) -> str:
        """Its id, once it is open."""
        if not self._id:
            raise invalid("batch", "is not open yet: use it in a `with` block, or call open()")
        return self._id

    async def open(self) -> Self:
        """Open it. Again: nothing. `BrokerProtocolError`, `QueueFullError`."""
        if not self._id:
            self._id = await self._client.open_batch(self._request)
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.seal()
        else:
            await self.cancel()

    @overload
    async def submit(self, job_type: JobType[P, R], payload: P, **options: Unpack[SubmitOptions]) -> JobHandle[R]: ...
    @overload
    async def submit(self, job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> JobHandle[Any]: ...
    async def submit(self, job_type: Any, payload: Any, **options: Unpack[SubmitOptions]) -> JobHandle[Any]:
        """A job, as a member. `BrokerProtocolError` when the batch is sealed."""
        return (await self.submit_jobs([new_job(job_type, payload, **options)]))[0]

    async def submit_jobs(self, jobs: Iterable[JobSpec[R]]) -> list[JobHandle[R]]:
        """Any number of jobs, made with `new_job`, as members: each 1,000 of them all or none."""
        handles: list[JobHandle[R]] = []
        left = iter(jobs)
        while some := list(islice(left, _AT_ONCE)):
            for spec in some:
                spec.batch_id = self.id
            handles += await self._client.submit_jobs(some)
        return handles

    async def seal(self) -> None:
        """Add no more: when all members have ended, so has the batch."""
        await self._client.seal_batch(self.id)

    async def cancel(self) -> None:
        """Cancel the members that wait, and ask those that run to stop."""
        await self._client.cancel_batch(self.id)

    async def get(self) -> BatchInfo:
        """The batch as it is now."""
        return await self._client.get_batch(self.id)

    async def progress(self, interval_ms: int = 1_000) -> AsyncIterator[BatchInfo]:
        """The batch as it is now, whenever it has changed, until it has finished; looked at every `interval_ms`."""
        shown: BatchInfo | None = None
        while True:
            info = await self.get()
            if info != shown:
                shown = info
                yield info
            if info.finished:
                return
            await asyncio.sleep(interval_ms / 1_000)

    async def wait(self, interval_ms: int = 1_000) -> BatchInfo:
        """The batch once it has finished."""
        async for info in self.progress(interval_ms):
            last = info
        return last

"""Calls about batches: jobs that are counted together."""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from osqueue.batch_messages import (
    AddToBatchRequest,
    BatchesRequest,
    BatchInfo,
    BatchRequest,
    BatchStatus,
    CancelledBatch,
    OpenBatchRequest,
)
from osqueue.batches import Batch
from osqueue.calls.base import Calls, lease_of
from osqueue.calls.reading import read
from osqueue.errors import TransportConfigError
from osqueue.job import HoldsLease, JobSpec
from osqueue.messages import Submitted
from osqueue.session import Session
from osqueue.submission import text
from osqueue.transports.protocol import BatchTransport

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient


class BatchCalls(Calls):
    """Opening batches, and looking after them."""

    def batch(
        self,
        name: str = "",
        *,
        on_success: JobSpec | None = None,
        on_finished: JobSpec | None = None,
        on_first_dead: JobSpec | None = None,
        parent: str = "",
        seal_after_ms: int = 0,
    ) -> Batch:
        """A batch to fill: `async with client.batch(on_success=…) as batch` opens it, and seals it at the end."""
        request = OpenBatchRequest(
            text("name", name), text("parent", parent), seal_after_ms, on_first_dead, on_success, on_finished
        )
        return Batch(cast("OsqueueClient", self), request)

    async def open_batch(self, request: OpenBatchRequest) -> str:
        """Open a batch; its id. `BrokerProtocolError`, `QueueFullError`, `JobNotFoundError` for its parent."""
        session = self._open()
        request.request_id = request.request_id or session.request_id()
        transport, since = _batches_of(session), session.seen
        answer = await session.run(
            lambda: transport.open_batch(request, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer.batch_id

    async def add_to_batch(self, job: HoldsLease, jobs: Sequence[JobSpec]) -> Sequence[Submitted]:
        """Add jobs, at most 1,000, to the batch of a running job, by the lease of that job, sealed as it may be.
        `LeaseLostError`, `BrokerProtocolError`, `QueueFullError`."""
        session = self._open()
        request = AddToBatchRequest(*lease_of(job), jobs=jobs, request_id=session.request_id())
        transport, since = _batches_of(session), session.seen
        answer = await session.run(
            lambda: transport.add_to_batch(request, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer.jobs

    async def seal_batch(self, batch_id: str) -> None:
        """Add no more: when all members have ended, so has the batch. Again: nothing. `JobNotFoundError`."""
        session = self._open()
        text("batch_id", batch_id)
        transport, since = _batches_of(session), session.seen
        answer = await session.run(
            lambda: transport.seal_batch(batch_id, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)

    async def get_batch(self, batch_id: str) -> BatchInfo:
        """A batch with its counts. `JobNotFoundError` when there is none, or it is no longer kept."""
        session = self._open()
        question = BatchRequest(text("batch_id", batch_id))
        answer = await read(session, lambda: session.transport.ask(question, timeout_ms=self.options.timeout_ms))
        return answer.batch

    async def list_batches(self, *, name: str = "", statuses: Iterable[BatchStatus] = ()) -> AsyncIterator[BatchInfo]:
        """Batches, oldest first, as you iterate: of that name, in one of those states."""
        session = self._open()
        page = BatchesRequest(text("name", name), tuple(statuses))
        while True:
            answer = await read(session, partial(session.transport.ask, page, timeout_ms=self.options.timeout_ms))
            for batch in answer.batches:
                yield batch
            if not answer.next_page_token:
                return
            page = BatchesRequest(page.name, page.statuses, page.page_size, answer.next_page_token)

    async def cancel_batch(self, batch_id: str) -> CancelledBatch:
        """Cancel the members of a batch, and of those in it, that wait, and ask the workers of those that run to stop.
        Of its callbacks only `on_finished` is submitted then."""
        session = self._open()
        text("batch_id", batch_id)
        transport, since = _batches_of(session), session.seen
        answer = await session.run(
            lambda: transport.cancel_batch(batch_id, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer


def _batches_of(session: Session) -> BatchTransport:
    transport = session.transport
    if isinstance(transport, BatchTransport):
        return transport
    raise TransportConfigError(f"the transport {session.transport.name!r} has no calls for batches")

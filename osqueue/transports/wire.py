"""The SDK's calls as messages of the API, over whatever carries those: gRPC, or the gateway's REST and WebSocket."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, Self, TypeVar, cast

from osqueue.api.mapping import asked_by, outcome_reader, reader, to_message, writer
from osqueue.errors import OsqueueError
from osqueue.job import JobSpec, Position
from osqueue.messages import (
    Change,
    ChangePage,
    ClaimRequest,
    Claims,
    Completed,
    Completion,
    Explanation,
    Failure,
    Heartbeat,
    JobAnswer,
    JobPage,
    ListRequest,
    Question,
    Release,
    Renewal,
    Selection,
    Settled,
    Submitted,
    Update,
    WatchFrame,
    WatchRequest,
)
from osqueue.stats import Stats
from osqueue.transports.queue_link import QueueLink
from osqueue.transports.wire_admin import WireAdmin
from osqueue.transports.wire_batches import WireBatches
from osqueue.transports.wire_workflows import WireWorkflows
from osqueue_stubs.osqueue.v1 import queue_pb2

A = TypeVar("A")


class Link(Protocol):
    """Carries one message there and one back. One attempt per call; raises an `OsqueueError`."""

    @property
    def address(self) -> str:
        """Where calls go at the moment."""
        ...

    def clone(self) -> Self:
        """Another link to the same place, not connected yet."""
        ...

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """The response of the unary RPC `name`."""
        ...

    def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of the server stream `name`."""
        ...

    async def close(self) -> None:
        """Close what is open; idempotent."""
        ...


class WireTransport(WireAdmin, WireWorkflows, WireBatches):
    """The SDK's protocol over a link."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self._link = link

    @property
    def address(self) -> str:
        return self._link.address

    def clone(self) -> "WireTransport":
        return WireTransport(self.name, self._link.clone())

    def for_queue(self, queue: str, *, shared: bool) -> "WireTransport":
        """The same for one queue with a name. `shared`: over the same connections, which whoever made this one
        closes."""
        return WireTransport(self.name, QueueLink(self._link, queue, shared=shared))

    async def close(self) -> None:
        await self._link.close()

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        request = queue_pb2.SubmitJobsRequest(atomic=atomic, request_id=request_id)
        write, add = writer(JobSpec, queue_pb2.SubmitJobRequest), request.jobs.add
        for spec in jobs:
            write(spec, add())
        answer = await self._link.call("SubmitJobs", request, timeout_ms)
        return list(map(outcome_reader(queue_pb2.SubmitJobResult), answer.results)), _position(answer, "commit")

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        answer = await self._link.call("ClaimJobs", to_message(request, queue_pb2.ClaimJobsRequest), timeout_ms)
        return reader(Claims, queue_pb2.ClaimJobsResponse)(answer, request.worker_id)

    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        request = queue_pb2.HeartbeatJobsRequest()
        write, add = writer(Heartbeat, queue_pb2.HeartbeatRequest), request.heartbeats.add
        for heartbeat in heartbeats:
            write(heartbeat, add())
        answer = await self._link.call("HeartbeatJobs", request, timeout_ms)
        return list(map(outcome_reader(queue_pb2.HeartbeatJobResult), answer.results)), _position(answer, "position")

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Completed | OsqueueError], Position | None]:
        request = queue_pb2.CompleteJobsRequest(request_id=request_id)
        write, add = writer(Completion, queue_pb2.CompleteJobRequest), request.completions.add
        for completion in completions:
            write(completion, add())
        answer = await self._link.call("CompleteJobs", request, timeout_ms)
        return list(map(outcome_reader(queue_pb2.CompleteJobResult), answer.results)), _position(answer, "commit")

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        answer = await self._link.call("FailJob", to_message(failure, queue_pb2.FailJobRequest), timeout_ms)
        return reader(Settled, queue_pb2.FailJobResponse)(answer)

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        answer = await self._link.call("ReleaseJob", to_message(release, queue_pb2.ReleaseJobRequest), timeout_ms)
        return reader(Settled, queue_pb2.ReleaseJobResponse)(answer)

    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        request = queue_pb2.GetJobRequest(job_id=job_id, linearizable=linearizable)
        answer = await self._link.call("GetJob", request, timeout_ms)
        return reader(JobAnswer, queue_pb2.GetJobResponse)(answer)

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        request = queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=wait_ms)
        answer = await self._link.call("WaitJob", request, timeout_ms)
        return reader(JobAnswer, queue_pb2.WaitJobResponse)(answer)

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        answer = await self._link.call("ListJobs", to_message(request, queue_pb2.ListJobsRequest), timeout_ms)
        return reader(JobPage, queue_pb2.ListJobsResponse)(answer)

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        request = queue_pb2.GetStatsRequest(linearizable=linearizable)
        answer = await self._link.call("GetStats", request, timeout_ms)
        return reader(Stats, queue_pb2.GetStatsResponse)(answer)

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        request = queue_pb2.CancelJobRequest(job_id=job_id, request_id=request_id)
        answer = await self._link.call("CancelJob", request, timeout_ms)
        return reader(Change, queue_pb2.CancelJobResponse)(answer, job_id)

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        answer = await self._link.call("CancelJobs", to_message(selection, queue_pb2.CancelJobsRequest), timeout_ms)
        return reader(ChangePage, queue_pb2.CancelJobsResponse)(answer)

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        answer = await self._link.call("RetryJobs", to_message(selection, queue_pb2.RetryJobsRequest), timeout_ms)
        return reader(ChangePage, queue_pb2.RetryJobsResponse)(answer)

    async def update_jobs(self, update: Update, *, timeout_ms: int) -> ChangePage:
        answer = await self._link.call("UpdateJobs", to_message(update, queue_pb2.UpdateJobsRequest), timeout_ms)
        return reader(ChangePage, queue_pb2.UpdateJobsResponse)(answer)

    async def run_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        answer = await self._link.call("RunJobs", to_message(selection, queue_pb2.RunJobsRequest), timeout_ms)
        return reader(ChangePage, queue_pb2.RunJobsResponse)(answer)

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        answer = await self._link.call("ExplainJob", queue_pb2.ExplainJobRequest(job_id=job_id), timeout_ms)
        return reader(Explanation, queue_pb2.ExplainJobResponse)(answer)

    async def ask(self, question: Question[A], *, timeout_ms: int) -> A:
        kind: Any = type(question)
        asked = asked_by(kind)
        answer = await self._link.call(asked.rpc, asked.request(question), timeout_ms)
        return cast(A, asked.read(answer))

    async def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        read = reader(WatchFrame, queue_pb2.WatchJobsResponse)
        async for frame in self._link.stream("WatchJobs", to_message(request, queue_pb2.WatchJobsRequest)):
            yield read(frame)


def _position(answer: Any, field: str) -> Position | None:
    """Where the answer's changes are durable, or the durable state that it shows."""
    found = getattr(answer, field)
    return Position(found.epoch, found.sequence) if answer.HasField(field) else None

"""The SDK's calls as messages of the API, over whatever carries those: gRPC, or the gateway's REST and WebSocket."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, Self

from osqueue.errors import OsqueueError
from osqueue.job import Position
from osqueue.messages import (
    Change,
    ChangePage,
    ClaimRequest,
    Claims,
    Completion,
    Explanation,
    Failure,
    Heartbeat,
    JobAnswer,
    JobPage,
    JobSpec,
    ListRequest,
    Release,
    Renewal,
    Selection,
    Settled,
    Stats,
    Submitted,
    WatchFrame,
    WatchRequest,
)
from osqueue.transports import wire_shapes as shapes
from osqueue.transports.grpc_errors import from_item_error
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2


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


class WireTransport:
    """The SDK's protocol over a link."""

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self._link = link

    @property
    def address(self) -> str:
        return self._link.address

    def clone(self) -> "WireTransport":
        return WireTransport(self.name, self._link.clone())

    async def close(self) -> None:
        await self._link.close()

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        request = queue_pb2.SubmitJobsRequest(atomic=atomic, request_id=request_id)
        for spec in jobs:
            shapes.add_spec(request.jobs, spec)
        answer = await self._link.call("SubmitJobs", request, timeout_ms)
        results: list[Submitted | OsqueueError] = []
        for result in answer.results:
            if result.HasField("submitted"):
                submitted = result.submitted
                results.append(Submitted(submitted.job_id, submitted.deduplicated))
            else:
                results.append(from_item_error(result.error, "SubmitJob"))
        return results, shapes.commit_of(answer)

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        message = queue_pb2.ClaimJobsRequest(
            worker_id=request.worker_id,
            types=request.types,
            claim_key=request.claim_key,
            wait_ms=request.wait_ms,
            lease_ms=request.lease_ms,
            worker_version=request.worker_version,
            max_jobs=request.max_jobs,
            max_bytes=request.max_bytes,
        )
        answer = await self._link.call("ClaimJobs", message, timeout_ms)
        worker_id = request.worker_id
        return Claims([shapes.claimed_job(job, worker_id) for job in answer.jobs], shapes.commit_of(answer))

    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        request = queue_pb2.HeartbeatJobsRequest()
        for job_id, worker_id, lease_token, progress in heartbeats:
            item = request.heartbeats.add(job_id=job_id, worker_id=worker_id, lease_token=lease_token)
            if progress is not None:
                item.progress.fraction = progress.fraction
                item.progress.message = progress.message
        answer = await self._link.call("HeartbeatJobs", request, timeout_ms)
        results: list[Renewal | OsqueueError] = [
            Renewal(result.renewed.lease_expires_at, result.renewed.cancel_requested)
            if result.HasField("renewed")
            else from_item_error(result.error, "Heartbeat")
            for result in answer.results
        ]
        return results, shapes.position_of(answer)

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[OsqueueError | None], Position | None]:
        request = queue_pb2.CompleteJobsRequest(request_id=request_id)
        add = request.completions.add
        for job_id, worker_id, lease_token, result in completions:
            # result=None leaves the field absent: a job without a result, not one with an empty result.
            add(job_id=job_id, worker_id=worker_id, lease_token=lease_token, result=result)
        answer = await self._link.call("CompleteJobs", request, timeout_ms)
        return shapes.item_errors(answer.results, "completed"), shapes.commit_of(answer)

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        request = queue_pb2.FailJobRequest(
            job_id=failure.job_id,
            worker_id=failure.worker_id,
            lease_token=failure.lease_token,
            error=job_pb2.JobError(type=failure.error.type, message=failure.error.message),
            retryable=failure.retryable,
            retry_delay_ms=failure.retry_delay_ms,
            request_id=failure.request_id,
        )
        answer = await self._link.call("FailJob", request, timeout_ms)
        return Settled(answer.status, answer.run_at, shapes.commit_of(answer))

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        request = queue_pb2.ReleaseJobRequest(
            job_id=release.job_id,
            worker_id=release.worker_id,
            lease_token=release.lease_token,
            request_id=release.request_id,
        )
        answer = await self._link.call("ReleaseJob", request, timeout_ms)
        return Settled(answer.status, 0, shapes.commit_of(answer))

    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        request = queue_pb2.GetJobRequest(job_id=job_id, linearizable=linearizable)
        answer = await self._link.call("GetJob", request, timeout_ms)
        return JobAnswer(shapes.job(answer.job), shapes.position_of(answer))

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        request = queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=wait_ms)
        answer = await self._link.call("WaitJob", request, timeout_ms)
        return JobAnswer(shapes.job(answer.job), shapes.position_of(answer))

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        message = queue_pb2.ListJobsRequest(
            filter=None if request.filter is None else shapes.job_filter(request.filter),
            view=shapes.VIEWS[request.view],
            page_size=request.page_size,
            page_token=request.page_token,
            linearizable=request.linearizable,
        )
        answer = await self._link.call("ListJobs", message, timeout_ms)
        return JobPage([shapes.job(job) for job in answer.jobs], answer.next_page_token, shapes.position_of(answer))

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        request = queue_pb2.GetStatsRequest(linearizable=linearizable)
        return shapes.stats(await self._link.call("GetStats", request, timeout_ms))

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        request = queue_pb2.CancelJobRequest(job_id=job_id, request_id=request_id)
        answer = await self._link.call("CancelJob", request, timeout_ms)
        return Change(job_id, answer.status, answer.cancel_requested)

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        request = shapes.selection(queue_pb2.CancelJobsRequest(), selection)
        answer = await self._link.call("CancelJobs", request, timeout_ms)
        changes = [shapes.change(result, "cancelled") for result in answer.results]
        return ChangePage(changes, answer.next_page_token, shapes.commit_of(answer))

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        request = shapes.selection(queue_pb2.RetryJobsRequest(), selection)
        answer = await self._link.call("RetryJobs", request, timeout_ms)
        changes = [shapes.change(result, "retried") for result in answer.results]
        return ChangePage(changes, answer.next_page_token, shapes.commit_of(answer))

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        answer = await self._link.call("ExplainJob", queue_pb2.ExplainJobRequest(job_id=job_id), timeout_ms)
        return Explanation(
            status=answer.status,
            reasons=[shapes.explain_reason(reason) for reason in answer.reasons],
            message=answer.message,
            run_at=answer.run_at,
            jobs_ahead=answer.jobs_ahead,
            workers=answer.workers,
            worker_id=answer.worker_id,
            lease_expires_at=answer.lease_expires_at,
            finished_at=answer.finished_at,
            error=shapes.job_error(answer),
            position=shapes.position_of(answer),
        )

    async def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        message = queue_pb2.WatchJobsRequest(
            job_ids=request.job_ids, types=request.types, stats_interval_ms=request.stats_interval_ms
        )
        if request.after is not None:
            message.after.epoch, message.after.sequence = request.after
        async for frame in self._link.stream("WatchJobs", message):
            yield shapes.watch_frame(frame)

"""A submitted job, in the hands of its producer."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from osqueue.errors import CANCELLED, JobNotFinishedError, WorkerExecutionError
from osqueue.job import Job, JobStatus
from osqueue.registry import JobType

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient
    from osqueue.messages import Change, SubmitOutcome

R = TypeVar("R")


class JobHandle(Generic[R]):
    """The job is durable; ask for its result, its status, or its end."""

    __slots__ = ("_client", "_job_type", "deduplicated", "id", "outcome")

    def __init__(
        self,
        client: "OsqueueClient",
        job_id: str,
        deduplicated: bool,
        job_type: JobType[Any, R] | None,
        outcome: "SubmitOutcome" = "",
    ) -> None:
        self._client = client
        self.id = job_id
        self.deduplicated = deduplicated
        self.outcome = outcome
        """With `unique`: "created", "kept", "replaced", "debounced", "queued_after" or "cancelling"; else ""."""
        self._job_type = job_type

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    async def result(self, timeout_ms: int | None = None) -> R:
        """What the worker returned, as soon as the job is finished; without a timeout, however long that takes.

        `WorkerExecutionError` when the job died or was cancelled, `JobNotFinishedError` when the time is over.
        """
        job = await self._client.wait_job(self.id, timeout_ms)
        return result_of(job, self._job_type, timeout_ms)

    async def status(self) -> JobStatus:
        """What the job is now."""
        return (await self.job()).status

    async def job(self) -> Job:
        """The job with its attempts, result or error."""
        return await self._client.get_job(self.id)

    async def cancel(self) -> "Change":
        """Cancel the job: at once while it waits, by asking its worker while it runs."""
        return await self._client.cancel_job(self.id)


def result_of(job: Job, job_type: JobType[Any, R] | None, timeout_ms: int | None) -> R:
    """The result of a job that was waited for, or the error that it ended in."""
    if job.status == "completed":
        return (job_type or JobType(job.type)).decode_result(job.result)
    if not job.finished:
        late = JobNotFinishedError(
            f"timeout: job {job.id} is {job.status} after {timeout_ms} ms; it goes on, wait for it again"
        )
        late.job_id = job.id
        raise late
    kind, details = job.error or ("", "")
    if job.status == "cancelled":
        error = WorkerExecutionError(f"job {job.id} was cancelled", reason=CANCELLED)
    else:
        error = WorkerExecutionError(f"job {job.id} failed: dead after {job.attempts} attempts: {kind}: {details}")
    error.job_id, error.error_type = job.id, kind
    raise error

"""What the SDK needs from a way to the broker. Implement it, and client and worker run over yours.

Each method makes one attempt: it answers, or raises an `OsqueueError`. The SDK retries what
may pass (`TransportConnectionError`, `BrokerLeadershipError`, …) with the same request_id,
so a transport need not. `timeout_ms` is how long the attempt may take.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from osqueue.admin_messages import (
    PausedTypes,
    StatePart,
    SteppedDown,
    TypesRequest,
)
from osqueue.batch_messages import (
    AddedToBatch,
    AddToBatchRequest,
    CancelledBatch,
    OpenBatchRequest,
    OpenedBatch,
    SealedBatch,
)
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
from osqueue.workflow_messages import (
    AddToWorkflowRequest,
    CancelledWorkflow,
    SubmittedWorkflow,
    SubmitWorkflowRequest,
)

A = TypeVar("A")


class Transport(Protocol):
    """A way to the broker, bound to one event loop from its first call on."""

    @property
    def name(self) -> str:
        """What it is, for people: "grpc", "rest"."""
        ...

    @property
    def address(self) -> str:
        """Where it leads at the moment, for people and error messages."""
        ...

    def clone(self) -> "Transport":
        """Another one to the same broker, not connected yet, for use in another event loop."""
        ...

    async def close(self) -> None:
        """Close its connections; idempotent."""
        ...

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        """Put 1 to 1,000 jobs into the queue: all or none when atomic, else each for itself."""
        ...

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        """Lease up to max_jobs jobs. `timeout_ms` is longer than the request's wait_ms."""
        ...

    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        """Renew 1 to 1,000 leases; and as of when the broker looked."""
        ...

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Completed | OsqueueError], Position | None]:
        """Complete 1 to 1,000 jobs."""
        ...

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        """End an attempt in failure."""
        ...

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        """Give a job back."""
        ...

    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        """One job, in full."""
        ...

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        """The job once it is finished, or as it is when wait_ms are over."""
        ...

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        """One page of jobs."""
        ...

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        """The statistics."""
        ...

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        """Cancel one job, or ask its worker to stop."""
        ...

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Cancel up to 1,000 of the selected jobs."""
        ...

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Make up to 1,000 of the selected dead jobs ready again."""
        ...

    async def update_jobs(self, update: Update, *, timeout_ms: int) -> ChangePage:
        """Change up to 1,000 of the selected jobs that wait."""
        ...

    async def run_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Let up to 1,000 of the selected jobs run now that wait for their time."""
        ...

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        """Why a job is not running."""
        ...

    async def ask(self, question: Question[A], *, timeout_ms: int) -> A:
        """The answer to a question, whichever RPC it is for."""
        ...

    def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        """Events as they become durable. Ends with an error when the connection breaks; the client watches again."""
        ...


@runtime_checkable
class QueueTransport(Protocol):
    """What a client of a queue with a name needs beside `Transport`."""

    def for_queue(self, queue: str, *, shared: bool) -> Transport:
        """The same for one queue with a name. `shared`: over the same connections, which whoever made this one
        closes."""
        ...


@runtime_checkable
class WorkflowTransport(Protocol):
    """What calls about workflows need beside `Transport`."""

    async def submit_workflow(self, request: SubmitWorkflowRequest, *, timeout_ms: int) -> SubmittedWorkflow:
        """Put jobs that need each other into the queue, all or none."""
        ...

    async def add_to_workflow(self, request: AddToWorkflowRequest, *, timeout_ms: int) -> SubmittedWorkflow:
        """Put more jobs into the workflow of a running one."""
        ...

    async def cancel_workflow(self, workflow_id: str, *, timeout_ms: int) -> CancelledWorkflow:
        """Cancel what waits of a workflow, and ask the workers of what runs to stop."""
        ...


@runtime_checkable
class BatchTransport(Protocol):
    """What calls about batches need beside `Transport`."""

    async def open_batch(self, request: OpenBatchRequest, *, timeout_ms: int) -> OpenedBatch:
        """Open a batch."""
        ...

    async def add_to_batch(self, request: AddToBatchRequest, *, timeout_ms: int) -> AddedToBatch:
        """Put more jobs into the batch of a running member, all or none."""
        ...

    async def seal_batch(self, batch_id: str, *, timeout_ms: int) -> SealedBatch:
        """Take members from those that run only."""
        ...

    async def cancel_batch(self, batch_id: str, *, timeout_ms: int) -> CancelledBatch:
        """Cancel what waits of a batch, and ask the workers of what runs to stop."""
        ...


@runtime_checkable
class AdminTransport(Protocol):
    """What `client.admin` needs beside `Transport`, which serves producers and workers all the same without it."""

    @property
    def address(self) -> str:
        """Where it leads at the moment, for people and error messages."""
        ...

    async def ask(self, question: Question[A], *, timeout_ms: int) -> A:
        """The answer to a question, whichever RPC it is for: as in `Transport`."""
        ...

    def get_state(self) -> AsyncIterator[StatePart]:
        """The root, then every live job, in chunks."""
        ...

    async def pause_types(self, request: TypesRequest, *, timeout_ms: int) -> PausedTypes:
        """Hand out no more jobs of these types."""
        ...

    async def resume_types(self, request: TypesRequest, *, timeout_ms: int) -> PausedTypes:
        """Hand out jobs of these types again."""
        ...

    async def purge(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Remove up to 1,000 of the selected finished jobs; a change's status is the one that the job had."""
        ...

    async def step_down(self, reason: str, *, timeout_ms: int) -> SteppedDown:
        """Let the leader hand over, once: a second call would reach the next one. It may take half a minute."""
        ...

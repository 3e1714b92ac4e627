"""What a transport is asked of batches and what it answers: plain data, free of any wire format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from osqueue.job import JobSpec, Position
from osqueue.messages import Question, Submitted

BatchStatus = Literal["open", "sealed", "completed", "dead", "cancelled"]


@dataclass(slots=True)
class OpenBatchRequest:
    """A batch to open, and what it submits."""

    name: str = ""
    parent_batch_id: str = ""
    seal_after_ms: int = 0
    on_first_dead: JobSpec | None = None
    on_success: JobSpec | None = None
    on_finished: JobSpec | None = None
    request_id: str = ""


class OpenedBatch(NamedTuple):
    """The batch is durable."""

    batch_id: str
    commit: Position | None = None


@dataclass(slots=True)
class AddToBatchRequest:
    """More jobs for the batch of a running member."""

    job_id: str
    worker_id: str
    lease_token: str
    jobs: Sequence[JobSpec]
    request_id: str = ""


class AddedToBatch(NamedTuple):
    """The jobs are durable; in the order in which they were sent."""

    jobs: Sequence[Submitted] = ()
    commit: Position | None = None


class SealedBatch(NamedTuple):
    """It is sealed."""

    commit: Position | None = None


@dataclass(slots=True)
class BatchInfo:
    """A batch and how far it has come: "open" while it takes members, "sealed" until they have ended, then "completed",
    "dead" if one is, else "cancelled". The ids are those of the jobs that its callbacks became; "": not yet."""

    id: str
    name: str = ""
    status: BatchStatus = "open"
    parent_batch_id: str = ""
    created_at: int = 0
    sealed_at: int = 0
    cancelled_at: int = 0
    finished_at: int = 0
    total: int = 0
    live: int = 0
    completed: int = 0
    dead: int = 0
    cancelled: int = 0
    purged: int = 0
    first_dead_job_id: str = ""
    success_job_id: str = ""
    finished_job_id: str = ""

    @property
    def ended(self) -> int:
        """Members that have ended, however."""
        return self.total - self.live

    @property
    def finished(self) -> bool:
        """It is sealed, and none of its members will run by itself."""
        return self.status not in ("open", "sealed")


class BatchAnswer(NamedTuple):
    """One batch."""

    batch: BatchInfo
    position: Position | None = None


@dataclass(slots=True)
class BatchRequest(Question[BatchAnswer]):
    """One batch."""

    batch_id: str


class BatchPage(NamedTuple):
    """The batches of a page, oldest first; an empty next_page_token ends the walk."""

    batches: list[BatchInfo]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class BatchesRequest(Question[BatchPage]):
    """One page of batches."""

    name: str = ""
    statuses: Sequence[BatchStatus] = ()
    page_size: int = 0
    page_token: str = ""


class CancelledBatch(NamedTuple):
    """How many of its members were live."""

    live: int = 0
    commit: Position | None = None

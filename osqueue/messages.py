"""What a transport is asked and what it answers: plain data, free of any wire format.

A batch is answered item by item, in order: the item's value, or the error that refused it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from osqueue.errors import OsqueueError
from osqueue.job import (
    ClaimedJob,
    Job,
    JobError,
    JobFilter,
    JobSpec,
    JobStatus,
    LimitBackoff,
    LimitUsage,
    Position,
    Progress,
)
from osqueue.stats import Stats

A = TypeVar("A", covariant=True)


class Question(Generic[A]):
    """What an RPC is asked whose commit nobody has to remember, and the type of its answer: a transport needs no more
    to carry them."""

    __slots__ = ()


JobView = Literal["", "basic", "full"]
JobOrder = Literal["oldest", "newest", "soonest"]

SubmitOutcome = Literal["", "created", "kept", "replaced", "debounced", "queued_after", "cancelling"]


class Submitted(NamedTuple):
    """The job is durable; `deduplicated` when an earlier submission had made it. `outcome` says what a submission with
    a unique key came to, in words such as "created", "kept" or "replaced"; "" without one."""

    job_id: str
    deduplicated: bool = False
    outcome: SubmitOutcome = ""


@dataclass(slots=True)
class ClaimRequest:
    """A worker asks for jobs; waits up to wait_ms for the first."""

    worker_id: str
    types: Sequence[str] = ()
    claim_key: str = ""
    wait_ms: int = 0
    lease_ms: int = 0
    worker_version: str = ""
    max_jobs: int = 1
    max_bytes: int = 0


class Claims(NamedTuple):
    """The leased jobs, in the order they should run."""

    jobs: list[ClaimedJob]
    commit: Position | None = None


class Heartbeat(NamedTuple):
    """A worker still runs a job. `running_ms`: for how long its handler has run, which its timeout_ms is counted from;
    0: it has not begun; None: as said before."""

    job_id: str
    worker_id: str
    lease_token: str = ""
    progress: Progress | None = None
    running_ms: int | None = None


class Renewal(NamedTuple):
    """The lease lives on until lease_expires_at; `cancel_requested` asks the worker to stop."""

    lease_expires_at: int
    cancel_requested: bool = False


class Completion(NamedTuple):
    """A worker has done a job."""

    job_id: str
    worker_id: str
    lease_token: str = ""
    result: bytes | None = None
    follow_ups: Sequence[JobSpec] = ()
    usage: Sequence[LimitUsage] = ()
    limit_backoff: Sequence[LimitBackoff] = ()


class FollowUp(NamedTuple):
    """What became of one follow-up: the id of its job, or why it was not submitted though its job is completed."""

    job_id: str = ""
    deduplicated: bool = False
    error: OsqueueError | None = None


class Completed(NamedTuple):
    """What became of a completion's follow-ups, in order. `follow_ups_withheld`: none was submitted, because
    cancellation of the job had been requested."""

    follow_ups: Sequence[FollowUp] = ()
    follow_ups_withheld: bool = False


@dataclass(slots=True)
class Failure:
    """A worker could not do a job."""

    job_id: str
    worker_id: str
    lease_token: str
    error: JobError
    retryable: bool = True
    retry_delay_ms: int | None = None
    request_id: str = ""
    usage: Sequence[LimitUsage] = ()
    limit_backoff: Sequence[LimitBackoff] = ()


@dataclass(slots=True)
class Release:
    """A worker gives a job back."""

    job_id: str
    worker_id: str
    lease_token: str = ""
    request_id: str = ""
    usage: Sequence[LimitUsage] = ()
    limit_backoff: Sequence[LimitBackoff] = ()


class Settled(NamedTuple):
    """What a failed or released job is now, and when it runs next (0: now, or never)."""

    status: JobStatus
    run_at: int = 0
    commit: Position | None = None


class JobAnswer(NamedTuple):
    """A job, and the durable state that it was read from."""

    job: Job
    position: Position | None = None


@dataclass(slots=True)
class ListRequest:
    """One page of jobs."""

    filter: JobFilter | None = None
    view: JobView = ""
    page_size: int = 0
    page_token: str = ""
    linearizable: bool = False
    order: JobOrder = "oldest"


class JobPage(NamedTuple):
    """The jobs of a page, in the order that was asked for; an empty next_page_token ends the walk."""

    jobs: list[Job]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class Selection:
    """Jobs by ids or by filter, for cancel_jobs, retry_jobs and run_jobs."""

    job_ids: Sequence[str] = ()
    filter: JobFilter | None = None
    dry_run: bool = False
    page_token: str = ""
    request_id: str = ""


class NewLabels(NamedTuple):
    """All labels that a job is to have, maybe none."""

    metadata: Mapping[str, str]


@dataclass(slots=True)
class Update(Selection):
    """What jobs that wait are to be: None leaves it as it is. `run_at` in milliseconds since the epoch."""

    priority: int | None = None
    run_at: int | None = None
    delay_ms: int | None = None
    payload: bytes | None = None
    labels: NewLabels | None = None


class Change(NamedTuple):
    """What became of one selected job: its status now, or the error that left it as it was."""

    job_id: str
    status: JobStatus | None = None
    cancel_requested: bool = False
    error: OsqueueError | None = None
    commit: Position | None = None


class ChangePage(NamedTuple):
    """What became of up to 1,000 selected jobs, and where to go on."""

    changes: list[Change]
    next_page_token: str = ""
    commit: Position | None = None


@dataclass(slots=True)
class Explanation:
    """Why a job is not running. `reasons`, the most important first, are words such as "behind" or "type_paused"."""

    status: JobStatus
    reasons: list[str]
    message: str
    run_at: int = 0
    jobs_ahead: int = 0
    workers: int = 0
    worker_id: str = ""
    lease_expires_at: int = 0
    finished_at: int = 0
    error: JobError | None = None
    position: Position | None = None
    blocked_by: list[str] = field(default_factory=list)
    limits: list["LimitBlock"] = field(default_factory=list)
    unique_key: str = ""
    sequence_key: str = ""
    sequence_ahead: int = 0
    fair_turn: "FairTurn | None" = None


class FairTurn(NamedTuple):
    """Where the turn of a job's fairness key stands: how many keys of its priority have had fewer turns."""

    key: str
    weight: float = 1.0
    keys_ahead: int = 0


class LimitBlock(NamedTuple):
    """A limit's key that has no room for a job. `next_start_at`: when its rate has; 0: one that runs has to end."""

    limit: str
    key: str = ""
    running: int = 0
    max_running: int | None = None
    next_start_at: int = 0


@dataclass(slots=True)
class Info:
    """The broker that answered: its release, every request's fields that it understands, whether it leads, and the
    leader's address (host:port) as far as it knows."""

    release: str
    fields: list[str] = field(default_factory=list)
    leads: bool = False
    leader_address: str = ""

    def understands(self, name: str) -> bool:
        """Whether it knows a field of a request, such as "JobFilter.finished_from"."""
        return name in self.fields


@dataclass(slots=True)
class InfoRequest(Question[Info]):
    """Which broker this is."""


@dataclass(slots=True)
class WatchRequest:
    """What to watch; with `after`, go on where an earlier watch ended."""

    job_ids: Sequence[str] = ()
    types: Sequence[str] = ()
    stats_interval_ms: int = 0
    after: Position | None = None


@dataclass(slots=True)
class JobEvent:
    """Something happened to a job. `kind` is a word such as "submitted", "claimed" or "dead"."""

    kind: str
    job_id: str
    type: str = ""
    status: str = ""
    worker_id: str = ""
    attempt: int = 0
    at: int = 0
    error: JobError | None = None
    progress: Progress | None = None
    run_at: int = 0


class Resync(NamedTuple):
    """Events were lost, or may have been ("gap", "new_leader"): list again, then go on with what follows."""

    reason: str
    message: str = ""


@dataclass(slots=True)
class WatchFrame:
    """What a watch sends: events in order, statistics at the interval asked for, a resync after a gap."""

    events: list[JobEvent] = field(default_factory=list)
    stats: Stats | None = None
    resync: Resync | None = None
    position: Position | None = None

"""What a job is, as producers, workers and observers see it.

Times ending in `_at` are milliseconds since the Unix epoch by the leader's clock, 0 when
there is none; durations end in `_ms`. Payloads and results are bytes, by convention JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar, overload

from osqueue.encoding import from_bytes
from osqueue.job_inputs import JobInput as JobInput
from osqueue.limit_uses import Limit as Limit
from osqueue.limit_uses import LimitBackoff as LimitBackoff
from osqueue.limit_uses import LimitUsage as LimitUsage
from osqueue.registry import JobType

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    R = TypeVarWithDefault("R", default=Any)
else:  # before Python 3.13 a default is a matter of type checkers only
    R = TypeVar("R")

JobStatus = Literal["unclaimed", "scheduled", "in_progress", "blocked", "completed", "dead", "cancelled"]

LIVE_STATUSES: tuple[JobStatus, ...] = ("unclaimed", "scheduled", "in_progress", "blocked")
FINISHED_STATUSES: tuple[JobStatus, ...] = ("completed", "dead", "cancelled")

UniqueScope = Literal["type", "queue"]
UniqueUntil = Literal["finished", "started", "succeeded"]
OnConflict = Literal["keep", "reject", "replace", "replace_keep_run_at", "debounce"]
AfterDead = Literal["hold", "skip"]
IfRunning = Literal["keep", "reject", "enqueue_one_after", "cancel"]

AttemptOutcome = Literal["running", "completed", "failed", "expired", "timed_out", "released", "cancelled"]


class Position(NamedTuple):
    """A point in the log: positions are ordered by the leader's epoch, then by sequence."""

    epoch: int
    sequence: int


class JobError(NamedTuple):
    """What went wrong in an attempt: a short stable name to group by, and the details."""

    type: str
    message: str


@dataclass(slots=True, frozen=True)
class RetryPolicy:
    """A failed job waits initial_ms × multiplier^(failures − 1), at most max_ms, spread by jitter (0 to 1)."""

    initial_ms: int
    multiplier: float = 2.0
    max_ms: int = 3_600_000
    jitter: float = 0.0


@dataclass(slots=True, frozen=True)
class Unique:
    """A key that at most one live job holds, and what becomes of others that ask for it.

    `scope` ("type" or "queue"), `until` ("finished", "started", "succeeded") and `ttl_ms` are terms of the job that
    holds the key. `on_conflict` says what is done while that one waits: "keep" (answer its id), "reject", "replace" it,
    "replace_keep_run_at", or "debounce": put it off by delay_ms, at most max_wait_ms after it was first submitted.
    `if_running` says it while that one runs: "keep", "reject", "enqueue_one_after" it, or "cancel" it first.
    """

    key: str
    scope: UniqueScope = "type"
    until: UniqueUntil = "finished"
    on_conflict: OnConflict = "keep"
    if_running: IfRunning = "keep"
    ttl_ms: int = 0
    max_wait_ms: int = 0


class Progress(NamedTuple):
    """How far an attempt has come, from 0 to 1, as its worker last said."""

    fraction: float
    message: str = ""
    updated_at: int = 0


@dataclass(slots=True)
class Attempt:
    """One numbered execution of a job."""

    number: int
    worker_id: str
    started_at: int
    ended_at: int
    outcome: AttemptOutcome
    error: JobError | None = None


class Lease(NamedTuple):
    """The right to one attempt, and its proof. An empty token is matched by worker_id."""

    job_id: str
    worker_id: str
    lease_token: str = ""


class HoldsLease(Protocol):
    """Whatever can prove a lease: a `ClaimedJob`, or a `Lease` kept from one."""

    @property
    def job_id(self) -> str: ...
    @property
    def worker_id(self) -> str: ...
    @property
    def lease_token(self) -> str: ...


OriginKind = Literal["follow_up", "on_dead"]


class Origin(NamedTuple):
    """The job whose end submitted another one, and how: a follow-up of its completion, or what it asked for in case of
    its death; or the batch that did. `error` is what it died of."""

    job_id: str
    kind: OriginKind
    attempt: int = 0
    error: JobError | None = None
    batch_id: str = ""


@dataclass(slots=True)
class ClaimedJob:
    """A job in the hands of a worker: all it needs to run the attempt and to prove its right to it."""

    job_id: str
    worker_id: str
    payload: bytes
    type: str = ""
    lease_token: str = ""
    attempt: int = 0
    lease_expires_at: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    timeout_ms: int = 0
    max_attempts: int = 0
    created_at: int = 0
    lease_ms: int = 0
    cancel_requested: bool = False
    came_from: Origin | None = None
    """The job whose end submitted this one; None when a producer did."""
    schedule_id: str = ""
    scheduled_for: int = 0
    inputs: "list[JobInput]" = field(default_factory=list)
    """How the jobs ended that it needed, and their results."""
    workflow_id: str = ""

    @overload
    def value(self) -> Any: ...
    @overload
    def value(self, job_type: JobType[T, Any]) -> T: ...
    def value(self, job_type: JobType[Any, Any] | None = None) -> Any:
        """The payload as JSON, or the bytes themselves when they are none; with a `job_type`, as that type says
        (`BrokerProtocolError` when it does not validate)."""
        return from_bytes(self.payload) if job_type is None else job_type.decode_payload(self.payload)


@dataclass(slots=True)
class Job:
    """A job as the queue knows it. What a view leaves out (payload, result, history) is empty."""

    id: str
    status: JobStatus
    payload: bytes = b""
    type: str = ""
    worker_id: str = ""
    created_at: int = 0
    attempts: int = 0
    max_attempts: int = 0
    heartbeat: int = 0
    priority: int = 0
    run_at: int = 0
    lease_ms: int = 0
    timeout_ms: int = 0
    retry_policy: RetryPolicy | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    retention_ms: int | None = None
    idempotency_key: str = ""
    result: bytes | None = None
    finished_at: int = 0
    progress: Progress | None = None
    cancel_requested: bool = False
    lease_expires_at: int = 0
    history: list[Attempt] = field(default_factory=list)
    attempt_number: int = 0
    error: JobError | None = None
    payload_bytes: int = 0
    result_bytes: int = 0
    claimed_at: int = 0
    effective_max_attempts: int = 0
    came_from: Origin | None = None
    """The job whose end submitted this one; None when a producer did."""
    follow_ups: list[str] = field(default_factory=list)
    """The ids of the jobs that its completion was followed by."""
    dead_follow_ups: list[str] = field(default_factory=list)
    """The ids of the jobs that its deaths submitted, the last 20."""
    submit_on_dead: "JobSpec | None" = None
    """What is submitted whenever it dies."""
    limits: list[Limit] = field(default_factory=list)
    unique: Unique | None = None
    schedule_id: str = ""
    scheduled_for: int = 0
    workflow_id: str = ""
    node: str = ""
    """Its name in the workflow."""
    sequence_key: str = ""
    sequence_after_dead: AfterDead = "hold"
    fairness_key: str = ""
    batch_id: str = ""

    @property
    def max_attempts_set(self) -> bool:
        """The producer asked for a limit of attempts itself."""
        return self.max_attempts > 0

    @property
    def finished(self) -> bool:
        """Completed, dead or cancelled: it will not run again by itself."""
        return self.status in FINISHED_STATUSES

    @overload
    def value(self) -> Any: ...
    @overload
    def value(self, job_type: JobType[T, Any]) -> T: ...
    def value(self, job_type: JobType[Any, Any] | None = None) -> Any:
        """The payload as JSON, or the bytes themselves when they are none; with a `job_type`, as that type says
        (`BrokerProtocolError` when it does not validate)."""
        return from_bytes(self.payload) if job_type is None else job_type.decode_payload(self.payload)

    @overload
    def result_value(self) -> Any: ...
    @overload
    def result_value(self, job_type: JobType[Any, T]) -> T: ...
    def result_value(self, job_type: JobType[Any, Any] | None = None) -> Any:
        """The result as JSON, the bytes themselves when they are none, None when there is no result; with a `job_type`,
        as that type says (`BrokerProtocolError` when it does not validate)."""
        if job_type is not None:
            return job_type.decode_result(self.result)
        return None if self.result is None else from_bytes(self.result)


class SubmitOptions(TypedDict, total=False):
    """What a producer may ask for beside type and payload; absent means the broker's default."""

    max_attempts: int
    """How many attempts may fail, expire or time out before the job is dead: 1 to 1,000, default 3."""
    priority: int
    """Higher is claimed first, −1,000 to 1,000, default 0."""
    run_at: datetime | int
    """Not to be claimed before: a datetime, or milliseconds since the epoch."""
    delay_ms: int
    """Not to be claimed before this much time has passed."""
    lease_ms: int
    """Length of the job's leases, default 30,000."""
    timeout_ms: int
    """Limit of one attempt, heartbeats or not."""
    retry_policy: RetryPolicy
    """How the job backs off after a failure."""
    idempotency_key: str
    """A repeated submission with the same key and content within 24 hours yields the same job."""
    metadata: Mapping[str, str]
    """Labels, at most 8 KiB."""
    retention_ms: int
    """A promise: the finished job is readable at least this long."""
    submit_on_dead: "JobSpec"
    """A job, made with `new_job`, that is submitted whenever this one dies, in the same commit: a compensation, an
    alarm. It knows this job by `came_from`, and may have neither a time to run at nor an idempotency key nor a
    `submit_on_dead` of its own."""
    limits: Sequence[Limit]
    """Limits that the job is under, at most 4: it starts when all have room."""
    unique: Unique
    """At most one live job with this key, and what becomes of others."""
    sequence_key: str
    """The jobs of one sequence run strictly one after the other, in the order of their submission."""
    sequence_after_dead: AfterDead
    """What the sequence does when this job is dead: "hold" until it is retried or purged (default), or "skip" it."""
    fairness_key: str
    """Whose turn it is, such as a tenant: keys have turns, however many jobs each has waiting. At most 64 bytes."""
    batch_id: str
    """The batch that it joins; `Batch.submit` sets it."""


@dataclass(slots=True)
class JobSpec(Generic[R]):
    """A job to submit, encoded; `new_job` builds it. `job_type` stays here: it tells how to read the result."""

    payload: bytes
    type: str = ""
    max_attempts: int | None = None
    priority: int = 0
    run_at: int = 0
    delay_ms: int = 0
    lease_ms: int = 0
    timeout_ms: int = 0
    retry_policy: RetryPolicy | None = None
    idempotency_key: str = ""
    metadata: Mapping[str, str] | None = None
    retention_ms: int | None = None
    submit_on_dead: "JobSpec | None" = None
    limits: tuple[Limit, ...] = ()
    unique: Unique | None = None
    sequence_key: str = ""
    sequence_after_dead: AfterDead = "hold"
    fairness_key: str = ""
    batch_id: str = ""
    job_type: JobType[Any, R] | None = None

    @property
    def wire_bytes(self) -> int:
        """About how much of a message it takes."""
        size = 128 + len(self.payload)
        if self.metadata:
            size += sum(3 * (len(key) + len(value)) + 16 for key, value in self.metadata.items())
        if self.submit_on_dead is not None:
            size += self.submit_on_dead.wire_bytes
        size += sum(3 * (len(limit.limit) + len(limit.key)) + 24 for limit in self.limits)
        return size


@dataclass(slots=True)
class JobFilter:
    """Which jobs: those that match every field that is set. `statuses` empty means live ones."""

    statuses: tuple[JobStatus, ...] = ()
    types: tuple[str, ...] = ()
    worker_id: str = ""
    created_from: int = 0
    created_before: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    error_type: str = ""
    finished_from: int = 0
    finished_before: int = 0
    unique_key: str = ""
    schedule_id: str = ""
    sequence_key: str = ""
    fairness_key: str = ""
    batch_id: str = ""
    workflow_id: str = ""
    limit_name: str = ""
    limit_key: str = ""

    @property
    def is_empty(self) -> bool:
        """Nothing is set: it matches all live jobs."""
        return self == JobFilter()


class FilterOptions(TypedDict, total=False):
    """A `JobFilter` as a caller writes it; absent means any."""

    statuses: Iterable[JobStatus]
    """Any of these. Absent: the live ones."""
    types: Iterable[str | JobType[Any, Any]]
    """Any of these."""
    worker_id: str
    """Held by this worker, or last held by it."""
    created_from: datetime | int
    """Submitted at this time or after it: a datetime, or milliseconds since the epoch."""
    created_before: datetime | int
    """Submitted before this time."""
    metadata: Mapping[str, str]
    """All of these labels, with exactly these values."""
    error_type: str
    """The last error has exactly this type."""
    finished_from: datetime | int
    """Finished at this time or after it. Without statuses: all finished jobs."""
    finished_before: datetime | int
    """Finished before this time. Without statuses: all finished jobs."""
    unique_key: str
    """Holds this unique key, or is blocked behind the job that does."""
    schedule_id: str
    """Made by the schedule of this id."""
    sequence_key: str
    """Is in this sequence."""
    fairness_key: str
    """Has exactly this fairness key."""
    batch_id: str
    """Member of this batch."""
    workflow_id: str
    """Node of this workflow."""
    limit_name: str
    """Names this limit, or the limit attached itself to its type."""
    limit_key: str
    """Names a limit, or the one given, with exactly this key."""

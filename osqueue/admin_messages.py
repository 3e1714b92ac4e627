"""What an operator is told: workers, dead letters by error, figures, storage, the root.

Times ending in `_at` are milliseconds since the Unix epoch by the leader's clock, 0 when there is none; durations end
in `_ms`. Figures count since the answering broker began to lead, or since its start, and are kept in memory: a new
leader starts with none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from osqueue.job import Job, Position
from osqueue.messages import Question


@dataclass(slots=True)
class WorkerInfo:
    """A worker as the leader sees it; a new leader learns of a worker when it calls.

    `types` empty: it takes any. `slots` 0: unknown, it uses no Work stream. `job_ids` are at most 100 of its `leases`.
    `completed` and `failed` count under this leader.
    """

    worker_id: str
    types: list[str] = field(default_factory=list)
    slots: int = 0
    leases: int = 0
    job_ids: list[str] = field(default_factory=list)
    first_seen_at: int = 0
    last_seen_at: int = 0
    version: str = ""
    streaming: bool = False
    draining: bool = False
    completed: int = 0
    failed: int = 0


class WorkerPage(NamedTuple):
    """Workers in order of their ids; an empty next_page_token ends the walk."""

    workers: list[WorkerInfo]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class DeadGroup:
    """Dead letters of one job type that died of one type of error, with the message and some ids of the latest."""

    type: str
    error_type: str
    count: int
    oldest_at: int = 0
    newest_at: int = 0
    sample_message: str = ""
    sample_job_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DeadGroups:
    """The largest groups first; `others` counts the dead letters in groups beyond those."""

    groups: list[DeadGroup]
    others: int = 0
    position: Position | None = None


@dataclass(slots=True)
class Latency:
    """How long something took: the median and the 99th percentile."""

    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(slots=True)
class HistoryPoint:
    """The leader's figures of one step that began at `at`.

    `submitted` to `dead` and `commits` count what happened in it, `unclaimed`, `scheduled`, `in_progress` and `blocked`
    the jobs at its end. `commit_latency` is until a commit was durable, `wait_latency` from a job's being ready to its
    claim, `run_latency` from there to its completion. `storage_requests` lie between its first and its last commit.
    """

    at: int
    submitted: int = 0
    claimed: int = 0
    completed: int = 0
    failed: int = 0
    dead: int = 0
    unclaimed: int = 0
    scheduled: int = 0
    in_progress: int = 0
    commits: int = 0
    commit_latency: Latency = field(default_factory=Latency)
    wait_latency: Latency = field(default_factory=Latency)
    run_latency: Latency = field(default_factory=Latency)
    storage_requests: int = 0
    blocked: int = 0


@dataclass(slots=True)
class History:
    """Points of `step_ms` each, oldest first."""

    points: list[HistoryPoint]
    step_ms: int = 0
    position: Position | None = None


@dataclass(slots=True)
class ThrottleStats:
    """How requests to the object store were throttled, since the broker's start; delays are sums."""

    total_reads: int = 0
    total_writes: int = 0
    throttled_reads: int = 0
    throttled_writes: int = 0
    total_read_delay_ms: int = 0
    total_write_delay_ms: int = 0
    daily_write_count: int = 0
    daily_budget_exceeded: bool = False


@dataclass(slots=True)
class StorageOperation:
    """One kind of request to the object store: "get", "put", "put_if_absent", "put_if_version", "list" or "delete".

    `errors` leaves refused conditions out; latencies are those of the last minute.
    """

    operation: str
    requests: int = 0
    errors: int = 0
    bytes: int = 0
    latency_ms_p50: float = 0.0
    latency_ms_p99: float = 0.0


@dataclass(slots=True)
class StorageCost:
    """What the requests cost by the configured price table, in its currency: in all, per day at the average rate, and
    per million jobs completed under this leader (0 on a standby)."""

    currency: str
    requests: float = 0.0
    per_day: float = 0.0
    per_million_jobs: float = 0.0


@dataclass(slots=True)
class StorageStats:
    """What the object store was asked for and how it answered, by the broker that was asked, since `since`.

    `unknown_outcomes` counts puts that had to be settled by reading. `throttle` is None when throttling is off, `cost`
    without a price table, `position` on a standby.
    """

    backend: str
    location: str = ""
    throttle: ThrottleStats | None = None
    commits: int = 0
    records: int = 0
    segment_bytes: int = 0
    checkpoints: int = 0
    checkpoint_bytes: int = 0
    unknown_outcomes: int = 0
    operations: list[StorageOperation] = field(default_factory=list)
    cost: StorageCost | None = None
    since: int = 0
    last_commit_at: int = 0
    position: Position | None = None


@dataclass(slots=True)
class Checkpoint:
    """The state after one sequence, from which recovery starts: its object, its size and its SHA-256 in hexadecimal."""

    object: str
    epoch: int = 0
    sequence: int = 0
    bytes: int = 0
    sha256: str = ""


@dataclass(slots=True)
class QueueRoot:
    """The queue's root as its leader wrote it, and where the state stands.

    `grpc_address` and `broker` are the leader's addresses for gRPC and HTTP, host:port; `broker_heartbeat` is when it
    last renewed its hold on the root, `incarnation` new at each of its starts, `format` the version of the data format.
    `checkpoint` is None while the state lies in the root itself.
    """

    grpc_address: str = ""
    broker: str = ""
    broker_heartbeat: int = 0
    incarnation: str = ""
    format: int = 0
    completed_total: int = 0
    jobs_total: int = 0
    checkpoint: Checkpoint | None = None
    position: Position | None = None

    @property
    def epoch(self) -> int:
        """The epoch of whoever leads."""
        return self.position.epoch if self.position is not None else 0


class StatePart(NamedTuple):
    """One chunk of the state; the root comes with the first one."""

    jobs: list[Job]
    header: QueueRoot | None = None


@dataclass(slots=True)
class HistoryRequest(Question[History]):
    """Which figures: from `since` on, in points of step_ms (0: 1,000), at most max_points (0: 3,600), the newest."""

    since: int = 0
    step_ms: int = 0
    max_points: int = 0


@dataclass(slots=True)
class WorkersRequest(Question[WorkerPage]):
    """One page of the workers seen lately, at most page_size of them (0: 1,000)."""

    page_size: int = 0
    page_token: str = ""


@dataclass(slots=True)
class DeadGroupsRequest(Question[DeadGroups]):
    """Dead letters of these types (none: all), at most max_groups groups (0: 100)."""

    types: Sequence[str] = ()
    max_groups: int = 0


@dataclass(slots=True)
class StorageStatsRequest(Question[StorageStats]):
    """The figures of the object store."""


@dataclass(slots=True)
class TypesRequest:
    """Types to pause or to resume; "" stands for jobs without a type."""

    types: Sequence[str]
    request_id: str = ""


class PausedTypes(NamedTuple):
    """All types that are paused after a change, and where that is durable."""

    paused_types: list[str]
    commit: Position | None = None


class SteppedDown(NamedTuple):
    """The leader has handed over; `commit` is the last one of its epoch."""

    commit: Position | None = None

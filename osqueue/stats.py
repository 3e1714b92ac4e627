"""The queue in figures, as the broker counts them.

Times ending in `_at` are milliseconds since the Unix epoch by the broker's clock, 0 when there is none; durations end
in `_ms`.
"""

from dataclasses import dataclass, field

from osqueue.job import Position

_INT32_MAX = 2**31 - 1


@dataclass(slots=True)
class Counts:
    """Numbers of jobs, by status and over the queue's whole life."""

    total: int = 0
    unclaimed: int = 0
    scheduled: int = 0
    in_progress: int = 0
    dead: int = 0
    cancelled: int = 0
    completed: int = 0
    submitted_total: int = 0
    completed_total: int = 0
    dead_total: int = 0
    cancelled_total: int = 0
    purged_total: int = 0
    evicted_total: int = 0
    blocked: int = 0


@dataclass(slots=True)
class Rates:
    """Jobs per second, averaged over the last window_ms."""

    window_ms: int = 0
    submitted: float = 0.0
    claimed: float = 0.0
    completed: float = 0.0
    failed: float = 0.0


@dataclass(slots=True)
class TypeStats:
    """The statistics of one type."""

    type: str
    counts: Counts = field(default_factory=Counts)
    paused: bool = False
    oldest_ready_age_ms: int = 0
    rates: Rates = field(default_factory=Rates)
    workers: int = 0


@dataclass(slots=True)
class FairnessKeyInfo:
    """One fairness key: how many turns it has for one of a key of weight 1, its jobs that wait and that run, and how
    many were claimed since it last had none."""

    key: str
    weight: float = 1.0
    waiting: int = 0
    running: int = 0
    claimed: int = 0


@dataclass(slots=True)
class ScheduleStats:
    """The schedules of a queue, and what became of the times of all that it ever had. `late_ms`: how long ago the first
    time was due that has yet to be decided."""

    count: int = 0
    paused: int = 0
    fired_total: int = 0
    skipped_total: int = 0
    missed_total: int = 0
    dropped_total: int = 0
    delayed_total: int = 0
    by_hand_total: int = 0
    late_ms: int = 0


@dataclass(slots=True)
class Stats:
    """How many jobs there are, how old the oldest ready one is, how fast they flow."""

    counts: Counts = field(default_factory=Counts)
    broker_address: str = ""
    types: list[TypeStats] = field(default_factory=list)
    oldest_ready_age_ms: int = 0
    rates: Rates = field(default_factory=Rates)
    bytes: int = 0
    position: Position | None = None
    commit_lag_ms: int = 0
    schedules: ScheduleStats | None = None
    fairness: list[FairnessKeyInfo] = field(default_factory=list)
    """The fairness keys with the most waiting jobs, at most 20."""

    @property
    def total(self) -> int:
        """Live jobs. This and the next two stop at 2,147,483,647, as the API's do."""
        return min(self.counts.total, _INT32_MAX)

    @property
    def unclaimed(self) -> int:
        """Jobs ready to be claimed."""
        return min(self.counts.unclaimed, _INT32_MAX)

    @property
    def in_progress(self) -> int:
        """Leased jobs."""
        return min(self.counts.in_progress, _INT32_MAX)

    @property
    def completed_total(self) -> int:
        """Jobs ever completed."""
        return self.counts.completed_total

    @property
    def scheduled(self) -> int:
        """Delayed jobs and jobs backing off."""
        return self.counts.scheduled

    @property
    def blocked(self) -> int:
        """Jobs that wait for other jobs to end."""
        return self.counts.blocked

    @property
    def dead(self) -> int:
        """Dead letters still kept."""
        return self.counts.dead

    @property
    def cancelled(self) -> int:
        """Cancelled jobs still kept."""
        return self.counts.cancelled

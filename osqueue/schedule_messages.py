"""Schedules as they travel: what is asked and what is answered. All `_at` are milliseconds since the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from osqueue.job import JobSpec, Position
from osqueue.messages import Question


@dataclass(slots=True)
class Schedule:
    """When jobs are to be submitted, and which. `overlap` is "skip", "allow_all", "buffer_one", "buffer_all" or
    "cancel_other", `missed` "latest", "all" or "none"; "" is the default."""

    id: str
    job: JobSpec | None = None
    cron: str = ""
    time_zone: str = ""
    dst_gap: str = ""
    dst_repeat: str = ""
    every_ms: int = 0
    anchor_at: int = 0
    jitter_ms: int = 0
    start_at: int = 0
    end_at: int = 0
    max_fires: int = 0
    overlap: str = ""
    missed: str = ""
    catchup_window_ms: int = 0
    pause_after_dead: int = 0


@dataclass(slots=True)
class ScheduledTime:
    """A time of a schedule; `local` is what clocks in its time zone show, with their offset."""

    at: int
    local: str = ""


@dataclass(slots=True)
class ScheduleTally:
    """What became of the times of a schedule, by number. `delayed` counts tries while the queue was full, `by_hand`
    jobs that were triggered or backfilled."""

    fired: int = 0
    skipped: int = 0
    missed: int = 0
    dropped: int = 0
    delayed: int = 0
    by_hand: int = 0


@dataclass(slots=True)
class Firing:
    """What became of a time. `outcome` is "fired", "skipped", "held", "missed", "dropped", "triggered", "backfilled" or
    "delayed"; `job_id` the job that it made, or the one that had not ended; `count` of how many times this is told."""

    scheduled_for: int
    at: int
    outcome: str
    job_id: str = ""
    job_status: str = ""
    count: int = 1


@dataclass(slots=True)
class ScheduleInfo:
    """A schedule as it stands now. `state` is "active", "paused", "ended" or "broken"; `message` says why it does not
    fire, or why its last time made no job. `next` are its next five times (one in a list), `firings` what became of its
    last ones, the newest first."""

    schedule: Schedule
    revision: int = 0
    created_at: int = 0
    changed_at: int = 0
    state: str = ""
    message: str = ""
    pause_reason: str = ""
    next: list[ScheduledTime] = field(default_factory=list)
    due_at: int = 0
    last_job_id: str = ""
    last_job_live: bool = False
    held: list[int] = field(default_factory=list)
    tally: ScheduleTally = field(default_factory=ScheduleTally)
    firings: list[Firing] = field(default_factory=list)

    @property
    def id(self) -> str:
        """What it is called."""
        return self.schedule.id

    @property
    def next_at(self) -> int:
        """Its next time; 0: none."""
        return self.next[0].at if self.next else 0


class ScheduleAnswer(NamedTuple):
    """A schedule, and where that is durable or was read from."""

    schedule: ScheduleInfo
    commit: Position | None = None
    position: Position | None = None


class SchedulePage(NamedTuple):
    """The schedules of a page, in the order of their ids; an empty next_page_token ends the walk."""

    schedules: list[ScheduleInfo]
    next_page_token: str = ""
    position: Position | None = None


class Deleted(NamedTuple):
    """There is no such schedule now; `deleted`: there was one."""

    deleted: bool = False
    commit: Position | None = None


class Triggered(NamedTuple):
    """The job that was made."""

    job_id: str
    commit: Position | None = None


class BackfilledJob(NamedTuple):
    """A job for a time that has passed."""

    job_id: str
    scheduled_for: int


class Backfilled(NamedTuple):
    """The jobs of a span, in the order of their times."""

    jobs: list[BackfilledJob]
    commit: Position | None = None


class PreviewedTimes(NamedTuple):
    """When a schedule would fire."""

    times: list[ScheduledTime]


@dataclass(slots=True)
class PutScheduleRequest(Question[ScheduleAnswer]):
    """Make a schedule, or let one be different; with `revision` only if it has that one (0: if there is none)."""

    schedule: Schedule
    revision: int | None = None


@dataclass(slots=True)
class GetScheduleRequest(Question[ScheduleAnswer]):
    """One schedule."""

    schedule_id: str


@dataclass(slots=True)
class ListSchedulesRequest(Question[SchedulePage]):
    """A page of schedules."""

    prefix: str = ""
    states: Sequence[str] = ()
    page_size: int = 0
    page_token: str = ""


@dataclass(slots=True)
class DeleteScheduleRequest(Question[Deleted]):
    """Remove a schedule."""

    schedule_id: str


@dataclass(slots=True)
class PauseScheduleRequest(Question[ScheduleAnswer]):
    """Let a schedule not fire."""

    schedule_id: str
    reason: str = ""


@dataclass(slots=True)
class ResumeScheduleRequest(Question[ScheduleAnswer]):
    """Let a schedule fire again."""

    schedule_id: str


@dataclass(slots=True)
class TriggerScheduleRequest(Question[Triggered]):
    """A job of a schedule now."""

    schedule_id: str
    request_id: str = ""


@dataclass(slots=True)
class BackfillScheduleRequest(Question[Backfilled]):
    """The jobs of a span that has passed."""

    schedule_id: str
    first_at: int
    end_at: int
    request_id: str = ""


@dataclass(slots=True)
class PreviewScheduleRequest(Question[PreviewedTimes]):
    """When a schedule, or one that is there, would fire."""

    schedule: Schedule | None = None
    schedule_id: str = ""
    after: int = 0
    count: int = 0

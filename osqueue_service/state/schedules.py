"""Schedules: what each is, how far it has come, and the table of all of them.

A schedule is replaced and never changed, so a checkpoint that is being written keeps the ones it began with. What a
record does to them is in `schedule_changes`; what is decided about them in `firing` and `schedule_control`.
"""

from collections.abc import Iterator
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace
from sortedcontainers import SortedDict

from osqueue_service.state.index import Deadlines
from osqueue_service.state.model import Job, JobSpec
from osqueue_service.timetable.timetable import Gap, Interval, Repeat, Timetable, calendar
from osqueue_service.timetable.zones import UTC, VERSION


class Overlap(IntEnum):
    """What a firing does while the last job that the schedule made is live. The numbers are the stored format."""

    SKIP = 1
    ALLOW_ALL = 2
    BUFFER_ONE = 3
    BUFFER_ALL = 4
    CANCEL_OTHER = 5


class Missed(IntEnum):
    """Which of several times that are due together fire."""

    LATEST = 1
    ALL = 2
    NONE = 3


class Outcome(IntEnum):
    """What became of one nominal time."""

    FIRED = 1
    """A job was submitted."""
    SKIPPED = 2
    """The last job was still live, and the schedule skips then."""
    BUFFERED = 3
    """The last job was still live; the time fires when that has ended."""
    MISSED = 4
    """It was due together with a later one, or too long ago, and the schedule does not fire such times."""
    DROPPED = 5
    """It was, or would have been, buffered, and there was no room for it."""
    TRIGGERED = 6
    """A job was submitted because somebody asked for it now."""
    BACKFILLED = 7
    """A job was submitted because somebody asked for the times of a span."""
    DELAYED = 8
    """The queue was full; it is tried again."""

    @property
    def submits(self) -> bool:
        """Whether a job came of it."""
        return self in (Outcome.FIRED, Outcome.TRIGGERED, Outcome.BACKFILLED)


class ScheduleSpec(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody asked for, stored by name. 0, "" or None means: not said, the default applies.

    Either `cron`, in `time_zone` ("": UTC), or `every_ms` from `anchor_at` on. All `_at` are milliseconds since 1970.
    """

    job: JobSpec
    cron: str = ""
    time_zone: str = ""
    dst_gap: Gap = Gap.UNSPECIFIED
    dst_repeat: Repeat = Repeat.UNSPECIFIED
    every_ms: int = 0
    anchor_at: int = 0
    jitter_ms: int = 0
    start_at: int = 0
    end_at: int = 0
    max_fires: int = 0
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.LATEST
    catchup_window_ms: int = 0
    pause_after_dead: int = 0

    @property
    def timetable(self) -> Timetable:
        """When it fires. Raises `BadCron` or `UnknownZone`, which a later time zone database may do for a zone that an
        earlier one had."""
        if self.every_ms:
            return Interval(self.every_ms, self.anchor_at)
        return calendar(self.cron, self.time_zone or UTC, self.dst_gap, self.dst_repeat)

    @property
    def zones(self) -> str:
        """The time zone database that its times depend on; "" when they depend on none."""
        return VERSION if self.time_zone and not self.every_ms else ""

    @property
    def times(self) -> tuple[object, ...]:
        """What decides when it fires: a change of anything else leaves the next time as it was."""
        return (
            self.cron, self.time_zone, self.dst_gap, self.dst_repeat, self.every_ms, self.anchor_at, self.jitter_ms,
            self.start_at, self.end_at, self.max_fires,
        )  # fmt: skip


class Firing(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What became of a nominal time, as the schedule remembers it. `job` is the number of the job that was made, or of
    the one that was in the way; `count` is of how many times this is told."""

    nominal: int
    at: int
    outcome: Outcome
    job: int = 0
    count: int = 1


class Plan(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What comes next: the nominal time `next_at`, at `due_at`. Both 0: nothing, for the reason that `problem` names or
    because the schedule has come to its end. `decided` is the last nominal time that was decided; `zones` the time zone
    database that this was worked out with. While the queue is full nothing is tried before `retry_at`."""

    decided: int
    next_at: int = 0
    due_at: int = 0
    zones: str = ""
    problem: str = ""
    retry_at: int = 0


class Tally(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Nominal times since the schedule was made, by what became of them. `delayed` counts tries while the queue was
    full, `by_hand` jobs that were triggered or backfilled."""

    fired: int = 0
    skipped: int = 0
    missed: int = 0
    dropped: int = 0
    delayed: int = 0
    by_hand: int = 0

    def plus(self, outcome: Outcome, count: int) -> "Tally":
        match outcome:
            case Outcome.FIRED:
                return replace(self, fired=self.fired + count)
            case Outcome.SKIPPED:
                return replace(self, skipped=self.skipped + count)
            case Outcome.MISSED:
                return replace(self, missed=self.missed + count)
            case Outcome.DROPPED:
                return replace(self, dropped=self.dropped + count)
            case Outcome.DELAYED:
                return replace(self, delayed=self.delayed + count)
            case Outcome.TRIGGERED | Outcome.BACKFILLED:
                return replace(self, by_hand=self.by_hand + count)
            case Outcome.BUFFERED:
                return self  # it is counted when it fires or is dropped


_NOTHING = Tally()


class Schedule(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One schedule as it stands now. `number` is drawn from the numbers of jobs and never changes; `revision` grows
    with each change of the spec. `last_job` is the number of the last job that it made, `buffer` holds the times
    that wait for its end; `deaths` counts its jobs that died one after the other."""

    id: str
    number: int
    spec: ScheduleSpec
    created_at: int
    changed_at: int
    plan: Plan
    revision: int
    paused: bool
    pause_reason: str
    last_job: int
    buffer: tuple[int, ...]
    deaths: int
    tally: Tally
    recent: tuple[Firing, ...]

    @classmethod
    def fresh(cls, id: str, number: int, spec: ScheduleSpec, plan: Plan, at_ms: int) -> "Schedule":
        """A new one."""
        return cls(id, number, spec, at_ms, at_ms, plan, 1, False, "", 0, (), 0, Tally(), ())

    @property
    def fed_up(self) -> bool:
        """Whether its jobs died one after the other as often as it takes to pause it."""
        return not self.paused and 0 < self.spec.pause_after_dead <= self.deaths

    def moment(self, *, waits: bool) -> int | None:
        """When something is due for it; None when nothing will be by itself. `waits`: its last job is live."""
        if self.paused:
            return None
        if self.fed_up:
            return 0
        plan = self.plan
        if self.buffer and not waits:
            return plan.retry_at
        return max(plan.due_at, plan.retry_at) if plan.due_at else None


class ScheduleTable(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Schedules as an image has them, and what all that ever were did."""

    tally: Tally
    schedules: list[Schedule]


class Schedules:
    """All schedules, by id and by when something is due for them, which follows from the schedules and the jobs."""

    def __init__(self) -> None:
        self.by_id: SortedDict[str, Schedule] = SortedDict()
        self.due = Deadlines()
        self.tally = Tally()
        """Over all schedules since the queue began, the deleted ones included."""
        self.paused = 0
        """How many are paused."""
        self.bytes = 0
        """What the templates of all schedules take."""
        self._ids: dict[int, str] = {}
        self._moments: dict[int, int] = {}
        self._zones: dict[str, dict[int, None]] = {}

    @property
    def known(self) -> bool:
        """Whether there is one, or was one that did something."""
        return bool(self.by_id) or self.tally != _NOTHING

    def __len__(self) -> int:
        return len(self.by_id)

    def get(self, schedule_id: str) -> Schedule | None:
        return self.by_id.get(schedule_id)

    def numbered(self, number: int) -> Schedule | None:
        schedule_id = self._ids.get(number)
        return None if schedule_id is None else self.by_id[schedule_id]

    def file(self, schedule: Schedule, *, waits: bool) -> None:
        """Put a schedule into every index, in the place of what it was before. `waits`: its last job is live."""
        before = self.by_id.get(schedule.id)
        if before is not None:
            self._unlist(before)
        self.by_id[schedule.id] = schedule
        number = schedule.number
        self._ids[number] = schedule.id
        self.bytes += schedule.spec.job.size
        self.paused += schedule.paused
        moment = schedule.moment(waits=waits)
        if moment is not None:
            self.due.add(moment, number)
            self._moments[number] = moment
        if schedule.plan.zones:
            self._zones.setdefault(schedule.plan.zones, {})[number] = None

    def remove(self, schedule: Schedule) -> None:
        """It was deleted."""
        self._unlist(schedule)
        del self.by_id[schedule.id]
        del self._ids[schedule.number]

    @property
    def any_outdated(self) -> bool:
        """Whether a plan was made with another time zone database than this broker's."""
        return bool(self._zones) and (len(self._zones) > 1 or VERSION not in self._zones)

    def outdated(self) -> Iterator[int]:
        """The numbers of those. The table must not change meanwhile."""
        for version, numbers in self._zones.items():
            if version != VERSION:
                yield from numbers

    def next_ms(self) -> int | None:
        """When something is due for the first of them."""
        return 0 if self.any_outdated else self.due.next_ms()

    def _unlist(self, schedule: Schedule) -> None:
        number, zones = schedule.number, schedule.plan.zones
        self.bytes -= schedule.spec.job.size
        self.paused -= schedule.paused
        moment = self._moments.pop(number, None)
        if moment is not None:
            self.due.remove(moment, number)
        if zones:
            numbers = self._zones[zones]
            del numbers[number]
            if not numbers:
                del self._zones[zones]


def made_by_schedule(job: Job) -> str:
    """The id of the schedule that made the job; "" when none did."""
    return job.spec.more.schedule if job.spec.more is not None else ""

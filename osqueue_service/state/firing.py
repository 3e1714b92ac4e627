"""Deciding the times of schedules: which fire, which do not and why, and what comes next."""

from hashlib import blake2b

from msgspec.structs import replace

from osqueue_service.errors import QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.model import Job, Status
from osqueue_service.state.records import (
    AnyRecord,
    Cancelled,
    CancelRequested,
    Decision,
    Fired,
    Planned,
    SchedulesPaused,
)
from osqueue_service.state.schedule_changes import job_of
from osqueue_service.state.schedules import Missed, Outcome, Overlap, Plan, Schedule, ScheduleSpec
from osqueue_service.state.state import State
from osqueue_service.state.submission import Admission
from osqueue_service.timetable.field import BadCron
from osqueue_service.timetable.zones import UnknownZone

PAUSED_BY_DEATHS = "its last {deaths} jobs died one after the other (pause_after_dead)"


def jitter_of(schedule_id: str, nominal: int, jitter_ms: int) -> int:
    """By how much a time is put off: always the same for one time of one schedule, and spread evenly over many."""
    if not jitter_ms:
        return 0
    digest = blake2b(f"{schedule_id}\0{nominal}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % jitter_ms


def following(spec: ScheduleSpec, at_ms: int) -> int:
    """The first nominal time after `at_ms` that the schedule allows; 0 when there is none. Raises `UnknownZone`."""
    nominal = spec.timetable.after(max(at_ms, spec.start_at - 1))
    return 0 if nominal is None or (spec.end_at and nominal > spec.end_at) else nominal


def plan_after(schedule_id: str, spec: ScheduleSpec, at_ms: int, fired: int) -> Plan:
    """What comes after `at_ms` for a schedule that has fired so often."""
    if spec.max_fires and fired >= spec.max_fires:
        return Plan(at_ms)
    try:
        nominal = following(spec, at_ms)
    except (UnknownZone, BadCron) as error:
        return Plan(at_ms, zones=spec.zones, problem=str(error))
    if not nominal:
        return Plan(at_ms)
    return Plan(at_ms, nominal, nominal + jitter_of(schedule_id, nominal, spec.jitter_ms), spec.zones)


class Round:
    """Decides the times of some schedules at one moment; `records` are what came of it.

    `now_ms` is the moment up to which times are due; `ended` names jobs whose attempt ends in this very commit: what
    becomes of those is known in the next.
    """

    def __init__(
        self, state: State, now_ms: int, limits: Limits, *, first: int, ended: frozenset[int] | set[int]
    ) -> None:
        self._state = state
        self._now_ms = now_ms
        self._limits = limits
        self._admission = Admission(state, now_ms, limits)
        self._first = first
        self._ended = ended
        self._decisions: list[Decision] = []
        self._plans: list[Planned] = []
        self._paused: dict[str, list[int]] = {}
        self._cancelled: list[int] = []
        self._asked: list[int] = []

    @property
    def size(self) -> int:
        """How much was decided so far."""
        return len(self._decisions) + len(self._plans)

    @property
    def planned(self) -> set[int]:
        """The numbers of the schedules that have another plan by it."""
        return {planned.schedule for planned in self._plans}

    def records(self) -> list[AnyRecord]:
        """What was decided."""
        limits = self._limits
        records: list[AnyRecord] = [SchedulesPaused(numbers, reason) for reason, numbers in self._paused.items()]
        if self._cancelled:
            records.append(Cancelled(self._cancelled, limits.default_retention_ms))
        if self._asked:
            records.append(CancelRequested(self._asked))
        if self._decisions or self._plans:
            records.append(Fired(self._first, self._decisions, self._plans, limits.history_firings))
        return records

    def replan(self, schedule: Schedule) -> None:
        """Work out anew what comes next, because the time zone database is another. What is due stays due."""
        plan = schedule.plan
        if 0 < plan.next_at <= self._now_ms:
            self._plans.append(Planned(schedule.number, replace(plan, zones=schedule.spec.zones)))
            return
        begin = max(plan.decided, self._now_ms)
        fresh = plan_after(schedule.id, schedule.spec, begin, schedule.tally.fired)
        zones = fresh.zones or ("" if not fresh.next_at else schedule.spec.zones)
        self._plans.append(Planned(schedule.number, replace(fresh, decided=plan.decided, zones=zones)))

    def decide(self, schedule: Schedule) -> Plan:
        """Decide all that is due for the schedule; its plan then."""
        if schedule.fed_up:
            reason = PAUSED_BY_DEATHS.format(deaths=schedule.deaths)
            self._paused.setdefault(reason, []).append(schedule.number)
            return schedule.plan
        if schedule.last_job in self._ended and schedule.spec.overlap is not Overlap.ALLOW_ALL:
            return schedule.plan
        turn = _Turn(self, schedule)
        plan = turn.take()
        if plan != schedule.plan:
            self._plans.append(Planned(schedule.number, plan))
        return plan

    def _told(self, schedule: Schedule, nominal: int, outcome: Outcome, job: int = 0, count: int = 1) -> None:
        self._decisions.append(Decision(schedule.number, nominal, outcome, job, count))

    def _submit(self, schedule: Schedule, nominal: int) -> int:
        """The number of a new job; 0 when the queue is full."""
        try:
            offset = self._admission.take(job_of(schedule, nominal)) - self._state.next_number
        except QueueFull:
            return 0
        return self._first + offset


class _Turn:
    """What is due for one schedule in a round."""

    def __init__(self, round: Round, schedule: Schedule) -> None:
        self._round = round
        self._schedule = schedule
        self._spec = schedule.spec
        self._state, self._now_ms, self._limits = round._state, round._now_ms, round._limits
        self._buffer = list(schedule.buffer)
        self._fired = schedule.tally.fired
        self._last: Job | None = self._state.jobs.get(schedule.last_job)
        self._last_number = schedule.last_job
        self._live = self._last is not None and not self._last.status.finished

    def take(self) -> Plan:
        plan = self._schedule.plan
        if self._buffer and not self._live and not self._fire(self._buffer[0]):
            return replace(plan, retry_at=self._now_ms + self._limits.firing_retry_ms)
        if not 0 < plan.due_at <= self._now_ms:
            return replace(plan, retry_at=0) if plan.retry_at else plan
        times, missed = self._wanted(self._due(plan.next_at))
        if missed:
            self._round._told(self._schedule, missed[-1], Outcome.MISSED, count=len(missed))
        decided = missed[-1] if missed else plan.decided
        for nominal in times:
            if self._spec.max_fires and self._fired >= self._spec.max_fires:
                return Plan(decided)
            if not self._decide(nominal):
                due_at = nominal + jitter_of(self._schedule.id, nominal, self._spec.jitter_ms)
                return Plan(decided, nominal, due_at, plan.zones, retry_at=self._now_ms + self._limits.firing_retry_ms)
            decided = nominal
        return plan_after(self._schedule.id, self._spec, max(decided, plan.next_at), self._fired)

    def _due(self, first: int) -> list[int]:
        """The nominal times that are due, oldest first, of which `first` is one. After a long while only the latest."""
        times = [first]
        most = self._limits.caught_up_firings
        try:
            while (nominal := following(self._spec, times[-1])) and self._is_due(nominal):
                times.append(nominal)
                if len(times) > most:
                    return times + self._latest(most, after=nominal)
        except (UnknownZone, BadCron):
            pass
        return times

    def _latest(self, most: int, after: int) -> list[int]:
        """The last times that are due."""
        timetable = self._spec.timetable
        begin = min(self._now_ms, self._spec.end_at or self._now_ms)
        times: list[int] = []
        while len(times) < most and (nominal := timetable.latest(begin)) is not None and nominal > after:
            if self._is_due(nominal):
                times.append(nominal)
            begin = nominal - 1
        return times[::-1]

    def _is_due(self, nominal: int) -> bool:
        return nominal + jitter_of(self._schedule.id, nominal, self._spec.jitter_ms) <= self._now_ms

    def _wanted(self, due: list[int]) -> tuple[list[int], list[int]]:
        """Those of the times that are due which the schedule fires, and those it does not."""
        spec, limits = self._spec, self._limits
        kept = due
        if spec.catchup_window_ms:
            kept = [nominal for nominal in due if self._now_ms - nominal <= spec.catchup_window_ms]
        match spec.missed:
            case Missed.ALL:
                kept = kept[-limits.caught_up_firings :]
            case Missed.LATEST:
                kept = kept[-1:]
            case Missed.NONE:
                late = limits.late_firing_ms + spec.jitter_ms
                kept = [nominal for nominal in kept[-1:] if self._now_ms - nominal <= late]
        return kept, due[: len(due) - len(kept)]

    def _decide(self, nominal: int) -> bool:
        """Whether the time is done with; it is not while the queue is full."""
        told, overlap = self._round._told, self._spec.overlap
        if not self._live or overlap is Overlap.ALLOW_ALL:
            return self._fire(nominal)
        match overlap:
            case Overlap.SKIP:
                told(self._schedule, nominal, Outcome.SKIPPED, self._last_number)
            case Overlap.BUFFER_ONE | Overlap.BUFFER_ALL:
                room = 1 if overlap is Overlap.BUFFER_ONE else self._limits.buffered_firings
                self._hold(nominal, room)
            case Overlap.CANCEL_OTHER:
                return self._cancel_and_fire(nominal)
        return True

    def _hold(self, nominal: int, room: int) -> None:
        if len(self._buffer) >= room:
            self._round._told(self._schedule, nominal, Outcome.DROPPED, self._last_number)
        else:
            self._buffer.append(nominal)
            self._round._told(self._schedule, nominal, Outcome.BUFFERED, self._last_number)

    def _cancel_and_fire(self, nominal: int) -> bool:
        """A last job that waits is cancelled; one that runs is asked to stop, and this time fires when it has ended."""
        last = self._last
        if last is None or last.status is not Status.IN_PROGRESS:
            if not self._fire(nominal):
                return False
            if last is not None and not last.status.finished:
                self._round._cancelled.append(last.number)
            self._last = None
            return True
        if not last.cancel_requested and last.number not in self._round._asked:
            self._round._asked.append(last.number)
        for held in self._buffer:
            self._round._told(self._schedule, held, Outcome.DROPPED, last.number)
        self._buffer.clear()
        self._hold(nominal, 1)
        return True

    def _fire(self, nominal: int) -> bool:
        number = self._round._submit(self._schedule, nominal)
        if not number:
            self._round._told(self._schedule, nominal, Outcome.DELAYED)
            return False
        self._round._told(self._schedule, nominal, Outcome.FIRED, number)
        if nominal in self._buffer:
            self._buffer.remove(nominal)
        self._last_number, self._live = number, True
        self._fired += 1
        return True

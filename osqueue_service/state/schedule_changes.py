"""What records do to schedules, and what the ends of jobs do to the schedules that made them."""

from msgspec.structs import replace

from osqueue_service.state.consistency import BrokenRecord, require
from osqueue_service.state.model import COMPLETED, DEAD, Job, JobSpec, MoreOfSpec
from osqueue_service.state.records import (
    Decision,
    Fired,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
)
from osqueue_service.state.schedules import Firing, Outcome, Schedule, made_by_schedule
from osqueue_service.state.state import State

_PROVISIONAL = (Outcome.BUFFERED, Outcome.DELAYED)
"""A time of which this was told has something else told of it later, in its place."""


def is_live(state: State, number: int) -> bool:
    """Whether the job with this number has yet to come to its end."""
    job = state.jobs.get(number)
    return job is not None and not job.status.finished


def job_of(schedule: Schedule, nominal: int) -> JobSpec:
    """The job that a schedule makes for one of its times."""
    template = schedule.spec.job
    more = replace(template.more or MoreOfSpec(), schedule=schedule.id, scheduled_for=nominal)
    return replace(template, more=more)


def file(state: State, schedule: Schedule) -> None:
    """Put the schedule into the table, as it is now."""
    state.schedules.file(schedule, waits=bool(schedule.buffer) and is_live(state, schedule.last_job))


def as_put(before: Schedule | None, record: SchedulePut, at_ms: int) -> Schedule:
    """What the schedule is by this record."""
    if before is None:
        return Schedule.fresh(record.id, record.number, record.spec, record.plan, at_ms)
    return replace(before, spec=record.spec, plan=record.plan, changed_at=at_ms, revision=before.revision + 1)


def put(state: State, record: SchedulePut, at_ms: int) -> None:
    before = state.schedules.get(record.id)
    if before is None:
        require(record.number == state.next_number, "schedules are numbered out of order")
        state.next_number += 1
    else:
        require(before.number == record.number, f"the schedule {record.id!r} has another number")
    file(state, as_put(before, record, at_ms))


def removed(state: State, record: SchedulesRemoved, at_ms: int) -> None:
    for number in record.numbers:
        state.schedules.remove(_schedule(state, number))


def as_paused(before: Schedule, reason: str) -> Schedule:
    """What the schedule is when it is paused."""
    return replace(before, paused=True, pause_reason=reason)


def paused(state: State, record: SchedulesPaused, at_ms: int) -> None:
    for number in record.numbers:
        file(state, as_paused(_schedule(state, number), record.reason))


def as_resumed(before: Schedule, record: ScheduleResumed) -> Schedule:
    """What the schedule is when it goes on."""
    return replace(before, paused=False, pause_reason="", deaths=0, plan=record.plan)


def resumed(state: State, record: ScheduleResumed, at_ms: int) -> None:
    file(state, as_resumed(_schedule(state, record.number), record))


def jobs_of(state: State, record: Fired) -> list[JobSpec]:
    """The jobs that the record makes, from the templates as they are."""
    made = [decision for decision in record.decisions if decision.outcome.submits]
    numbers = range(record.first, record.first + len(made))
    require([decision.job for decision in made] == list(numbers), "the jobs of schedules are numbered out of order")
    return [job_of(_schedule(state, decision.schedule), decision.nominal) for decision in made]


def fired(state: State, record: Fired, at_ms: int) -> None:
    """After the jobs were submitted: what the schedules know of it."""
    changed: dict[int, Schedule] = {}
    for decision in record.decisions:
        schedule = changed.get(decision.schedule) or _schedule(state, decision.schedule)
        changed[decision.schedule] = _told(schedule, decision, at_ms, record.kept)
        state.schedules.tally = state.schedules.tally.plus(decision.outcome, decision.count)
    for planned in record.plans:
        schedule = changed.get(planned.schedule) or _schedule(state, planned.schedule)
        changed[planned.schedule] = replace(schedule, plan=planned.plan)
    for schedule in changed.values():
        file(state, schedule)


def _told(schedule: Schedule, decision: Decision, at_ms: int, kept: int) -> Schedule:
    nominal, outcome = decision.nominal, decision.outcome
    recent = schedule.recent
    if recent and any(old.nominal == nominal and old.outcome in _PROVISIONAL for old in recent):
        recent = tuple(old for old in recent if old.nominal != nominal or old.outcome not in _PROVISIONAL)
    firing = Firing(nominal, at_ms, outcome, decision.job, decision.count)
    buffer = schedule.buffer
    if outcome is Outcome.BUFFERED:
        buffer = (*buffer, nominal)
    elif outcome in (Outcome.FIRED, Outcome.DROPPED):
        buffer = tuple(held for held in buffer if held != nominal)
    return replace(
        schedule,
        recent=(*recent, firing)[-kept:] if kept else (),
        tally=schedule.tally.plus(outcome, decision.count),
        buffer=buffer,
        last_job=decision.job if outcome.submits else schedule.last_job,
    )


def job_moved(state: State, job: Job) -> None:
    """A job came to its end, is not kept any longer, or lives again. Only jobs that have `more` need be told of."""
    schedule = state.schedules.get(made_by_schedule(job))
    if schedule is None:
        return
    deaths = schedule.deaths
    if schedule.spec.pause_after_dead and job.number in state.jobs:
        if job.status is DEAD:
            deaths += 1
        elif job.status is COMPLETED:
            deaths = 0
    if deaths != schedule.deaths:
        file(state, replace(schedule, deaths=deaths))
    elif schedule.buffer and schedule.last_job == job.number:
        file(state, schedule)


def _schedule(state: State, number: int) -> Schedule:
    schedule = state.schedules.numbered(number)
    if schedule is None:
        raise BrokenRecord(f"schedule number {number} is not there")
    return schedule

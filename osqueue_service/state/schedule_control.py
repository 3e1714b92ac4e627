"""Deciding what people ask of schedules: put, delete, pause, resume, trigger, backfill."""

from hashlib import blake2b

from osqueue_service.errors import (
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    RevisionConflict,
    ScheduleNotFound,
)
from osqueue_service.limits import Limits
from osqueue_service.state.commands import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    PutSchedule,
    ResumeSchedule,
    TriggerSchedule,
)
from osqueue_service.state.firing import Round, following, plan_after
from osqueue_service.state.limiting import with_limits
from osqueue_service.state.records import (
    AnyRecord,
    Decision,
    Fired,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
)
from osqueue_service.state.schedule_changes import as_paused, as_put, as_resumed, job_of
from osqueue_service.state.schedules import Outcome, Plan, Schedule, ScheduleSpec
from osqueue_service.state.state import State
from osqueue_service.state.submission import Admission, public_id

Answered = tuple[list[AnyRecord], Schedule]


def existing(state: State, schedule_id: str) -> Schedule:
    """The schedule, or SCHEDULE_NOT_FOUND."""
    schedule = state.schedules.get(schedule_id)
    if schedule is None:
        raise ScheduleNotFound(f"no schedule has the id {schedule_id!r}: it was never put, or it was deleted")
    return schedule


def decide_put(state: State, command: PutSchedule, now_ms: int, limits: Limits) -> Answered:
    """What is due under the old spec fires first, in the same commit; a spec that is as it was changes nothing."""
    before = state.schedules.get(command.id)
    if before is not None and before.spec == command.spec:
        return [], before
    _check_revision(command, before)
    if command.spec.job.unique is not None:
        raise InvalidRequest.field(
            "schedule.job.unique", "a schedule's jobs have no unique key: say with overlap what is to be done"
        )
    with_limits(state, command.spec.job, limits)  # refuses those that are not there
    if before is None:
        _check_room(state, command.spec, 0, limits)
        plan = _first_plan(command.id, command.spec, now_ms, 0)
        record = SchedulePut(state.next_number, command.id, command.spec, plan, command.by)
        return [record], as_put(None, record, now_ms)
    _check_room(state, command.spec, before.spec.job.size, limits)
    round = Round(state, _due_up_to(now_ms, command.wall_ms), limits, first=state.next_number, ended=frozenset())
    plan = before.plan if before.paused else round.decide(before)
    if command.spec.times != before.spec.times:
        plan = _first_plan(command.id, command.spec, now_ms, before.tally.fired)
    record = SchedulePut(before.number, command.id, command.spec, plan, command.by)
    return [*round.records(), record], as_put(before, record, now_ms)


def decide_delete(state: State, command: DeleteSchedule, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], bool]:
    """What it made stays."""
    schedule = state.schedules.get(command.id)
    return [SchedulesRemoved([schedule.number], command.by)] if schedule else [], schedule is not None


def decide_pause(state: State, command: PauseSchedule, now_ms: int, limits: Limits) -> Answered:
    """Pausing what is paused changes nothing."""
    schedule = existing(state, command.id)
    if schedule.paused:
        return [], schedule
    return [SchedulesPaused([schedule.number], command.reason, command.by)], as_paused(schedule, command.reason)


def decide_resume(state: State, command: ResumeSchedule, now_ms: int, limits: Limits) -> Answered:
    """Times that passed while it was paused are not missed: they were not wanted."""
    schedule = existing(state, command.id)
    if not schedule.paused:
        return [], schedule
    plan = plan_after(schedule.id, schedule.spec, max(now_ms, schedule.plan.decided), schedule.tally.fired)
    record = ScheduleResumed(schedule.number, plan, command.by)
    return [record], as_resumed(schedule, record)


def decide_trigger(
    state: State, command: TriggerSchedule, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[tuple[str, int]]]:
    """A job at once, besides all its times."""
    schedule = existing(state, command.id)
    return _by_hand(
        state, schedule, [now_ms], Outcome.TRIGGERED, command.request_id, f"trigger\0{command.id}", now_ms, limits
    )


def decide_backfill(
    state: State, command: BackfillSchedule, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[tuple[str, int]]]:
    """All or none of the times of the span."""
    schedule = existing(state, command.id)
    if command.end_at > now_ms:
        raise InvalidRequest.field("end_at", "is in the future; a backfill is of times that have passed")
    times: list[int] = []
    at_ms = command.first_at - 1
    while (nominal := following(schedule.spec, at_ms)) and nominal < command.end_at:
        times.append(nominal)
        at_ms = nominal
        if len(times) > limits.backfill_jobs:
            raise InvalidRequest.field(
                "end_at",
                f"makes the span have more than {limits.backfill_jobs:,} times of the schedule (backfill_jobs): ask "
                "for a shorter one, and again for the rest",
            )
    content = f"backfill\0{command.id}\0{command.first_at}\0{command.end_at}"
    return _by_hand(state, schedule, times, Outcome.BACKFILLED, command.request_id, content, now_ms, limits)


def _by_hand(
    state: State,
    schedule: Schedule,
    times: list[int],
    outcome: Outcome,
    request_id: str,
    content: str,
    now_ms: int,
    limits: Limits,
) -> tuple[list[AnyRecord], list[tuple[str, int]]]:
    """Jobs that somebody asked for; a repeated call answers those of the first."""
    call_print = blake2b(content.encode(), digest_size=16).digest() if request_id else b""
    known = state.requests.get(request_id, now_ms) if request_id else None
    if known is not None:
        if known.fingerprint != call_print:
            raise IdempotencyConflict(
                f"request_id {request_id!r} was used within the last 10 minutes for another call: draw a new "
                "request_id for every new call"
            )
        numbers = range(known.first, known.first + known.count)
        again = times if len(times) == known.count else [0] * known.count
        return [], [(public_id(state, number), at) for number, at in zip(numbers, again, strict=True)]
    admission = Admission(state, now_ms, limits)
    decisions = [
        Decision(schedule.number, nominal, outcome, admission.take(job_of(schedule, nominal))) for nominal in times
    ]
    if not decisions:
        return [], []
    record = Fired(
        state.next_number,
        decisions,
        [],
        limits.history_firings,
        request_id,
        limits.request_ttl_ms if request_id else 0,
        call_print,
    )
    return [record], [(state.id_of_number(decision.job), decision.nominal) for decision in decisions]


def _due_up_to(now_ms: int, wall_ms: int | None) -> int:
    return now_ms if wall_ms is None else min(now_ms, wall_ms)


def _first_plan(schedule_id: str, spec: ScheduleSpec, now_ms: int, fired: int) -> Plan:
    """The plan of a new spec: times before now are not its own. One that never fires is refused."""
    if spec.max_fires and fired >= spec.max_fires:
        raise InvalidRequest.field(
            "schedule.max_fires",
            f"is {spec.max_fires:,}, and the schedule has fired {fired:,} times: it would not again",
        )
    plan = plan_after(schedule_id, spec, now_ms, fired)
    if plan.problem:
        raise InvalidRequest.field("schedule.time_zone", plan.problem)
    if not plan.next_at:
        field = "schedule.end_at" if spec.end_at else "schedule.cron"
        raise InvalidRequest.field(field, "leaves the schedule without any time to come: it would never fire")
    return plan


def _check_revision(command: PutSchedule, before: Schedule | None) -> None:
    if command.revision is None or command.revision == (before.revision if before else 0):
        return
    if before is None:
        raise RevisionConflict(
            f"there is no schedule {command.id!r}, and revision {command.revision} of it was expected"
        )
    raise RevisionConflict(
        f"the schedule {command.id!r} has revision {before.revision}, and {command.revision} was expected: look at "
        "what it is now, and put your change on top of that"
    )


def _check_room(state: State, spec: ScheduleSpec, freed: int, limits: Limits) -> None:
    schedules = state.schedules
    if not freed and len(schedules) >= limits.schedules:
        raise QueueFull(
            f"there are {len(schedules):,} schedules, and at most {limits.schedules:,} may be (schedules): delete "
            "those that nobody needs"
        )
    if schedules.bytes - freed + spec.job.size > limits.schedules_bytes:
        raise QueueFull(
            f"the templates of all schedules would take more than {limits.schedules_bytes:,} bytes (schedules_bytes): "
            "put large payloads elsewhere and name them"
        )

"""Schedules as callers see them."""

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from osqueue_service.rpc.job_info import template
from osqueue_service.state.firing import following
from osqueue_service.state.model import JobSpec
from osqueue_service.state.schedule_changes import is_live
from osqueue_service.state.schedules import Firing, Outcome, Schedule, ScheduleSpec, Tally
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id
from osqueue_service.timetable import zones
from osqueue_service.timetable.field import BadCron
from osqueue_service.timetable.zones import UnknownZone
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, schedules_pb2

NEXT_TIMES = 5
"""How many times to come are told with a schedule."""

_OUTCOMES = {
    outcome: schedules_pb2.FiringOutcome.Value(
        f"FIRING_OUTCOME_{'HELD' if outcome is Outcome.BUFFERED else outcome.name}"
    )
    for outcome in Outcome
}


def times_after(spec: ScheduleSpec, at_ms: int, count: int) -> Iterator[schedules_pb2.ScheduledTime]:
    """The next nominal times after a moment; none where they cannot be worked out."""
    try:
        for _ in range(count):
            at_ms = following(spec, at_ms)
            if not at_ms:
                return
            yield schedules_pb2.ScheduledTime(at=at_ms, local=local_time(spec.time_zone, at_ms))
    except (UnknownZone, BadCron):
        return


def local_time(time_zone: str, at_ms: int) -> str:
    """The moment as clocks there show it."""
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return moment.astimezone(zones.zone(time_zone or zones.UTC)).isoformat(timespec="seconds")


def schedule_info(state: State, schedule: Schedule, *, full: bool = True) -> schedules_pb2.ScheduleInfo:
    """The schedule as it is now. Without `full`, without the template's payload and the last firings, and
    with its next time only."""
    plan, spec = schedule.plan, schedule.spec
    stands = _state(schedule)
    live = is_live(state, schedule.last_job)
    info = schedules_pb2.ScheduleInfo(
        schedule=_schedule(schedule, payload=full),
        revision=schedule.revision,
        created_at=schedule.created_at,
        changed_at=schedule.changed_at,
        state=stands,
        message=_message(state, schedule, live),
        pause_reason=schedule.pause_reason,
        last_job_id=public_id(state, schedule.last_job) if schedule.last_job else "",
        last_job_live=live,
        held=schedule.buffer,
        tally=_tally(schedule.tally),
    )
    if stands == schedules_pb2.SCHEDULE_STATE_ACTIVE:
        info.due_at = max(plan.due_at, plan.retry_at)
        shown = NEXT_TIMES if full else 1
        left = shown if not spec.max_fires else min(shown, spec.max_fires - schedule.tally.fired)
        info.next.extend(times_after(spec, plan.next_at - 1, left))
    if full:
        info.firings.extend([_firing(state, firing) for firing in reversed(schedule.recent)])
    return info


def info_bytes(schedule: Schedule) -> int:
    """About how large `schedule_info` without payload is, never less."""
    spec = schedule.spec.job
    return 1_024 + spec.size - len(spec.payload) + 4 * (len(schedule.pause_reason) + len(schedule.plan.problem))


def _state(schedule: Schedule) -> schedules_pb2.ScheduleState.ValueType:
    if schedule.paused or schedule.fed_up:
        return schedules_pb2.SCHEDULE_STATE_PAUSED
    if schedule.plan.problem:
        return schedules_pb2.SCHEDULE_STATE_BROKEN
    return schedules_pb2.SCHEDULE_STATE_ACTIVE if schedule.plan.next_at else schedules_pb2.SCHEDULE_STATE_ENDED


def _message(state: State, schedule: Schedule, live: bool) -> str:
    """Why it does not fire, or why its last time made no job."""
    plan, spec = schedule.plan, schedule.spec
    if schedule.paused:
        return f"it is paused{f': {schedule.pause_reason}' if schedule.pause_reason else ''}; resume it to let it fire"
    if plan.problem:
        return plan.problem
    if not plan.next_at:
        if spec.max_fires and schedule.tally.fired >= spec.max_fires:
            return f"it has fired {schedule.tally.fired:,} times, as often as max_fires allows"
        return "it has no time to come before its end_at"
    last = schedule.recent[-1] if schedule.recent else None
    if last is None or last.outcome.submits:
        return ""
    name = f"job {public_id(state, last.job)}" if last.job else "the last job"
    match last.outcome:
        case Outcome.SKIPPED:
            return f"its last time was skipped because {name} had not ended{'' if live else '; it has by now'}"
        case Outcome.BUFFERED:
            return f"its last time is held until {name} has ended"
        case Outcome.DROPPED:
            return f"its last time was dropped: {name} had not ended, and no further time could be held"
        case Outcome.DELAYED:
            return "the queue is full: its last time is tried again every few seconds"
        case _:
            return "its last time was missed: it was due together with a later one, or too long ago"


def _schedule(schedule: Schedule, *, payload: bool) -> schedules_pb2.Schedule:
    spec = schedule.spec
    return schedules_pb2.Schedule(
        id=schedule.id,
        job=_template(spec.job, payload=payload),
        cron=spec.cron,
        time_zone=spec.time_zone or (zones.UTC if spec.cron else ""),
        dst_gap=int(spec.dst_gap),  # type: ignore[arg-type]
        dst_repeat=int(spec.dst_repeat),  # type: ignore[arg-type]
        every_ms=spec.every_ms,
        anchor_at=spec.anchor_at,
        jitter_ms=spec.jitter_ms,
        start_at=spec.start_at,
        end_at=spec.end_at,
        max_fires=spec.max_fires,
        overlap=int(spec.overlap),  # type: ignore[arg-type]
        missed=int(spec.missed),  # type: ignore[arg-type]
        catchup_window_ms=spec.catchup_window_ms,
        pause_after_dead=spec.pause_after_dead,
    )


def _template(spec: JobSpec, *, payload: bool) -> queue_pb2.SubmitJobRequest:
    """The template as it was put. What it shares with other templates is written by the same code."""
    shared = template(spec if payload else replace(spec, payload=b""))
    job = queue_pb2.SubmitJobRequest()
    job.MergeFromString(shared.SerializeToString())
    job.limits.extend([job_pb2.Limit(limit=use.limit, key=use.key, cost=use.cost) for use in spec.limits])
    if spec.on_dead is not None:
        on_dead = spec.on_dead if payload else replace(spec.on_dead, payload=b"")
        job.submit_on_dead.CopyFrom(template(on_dead))
    return job


def _tally(tally: Tally) -> schedules_pb2.ScheduleTally:
    return schedules_pb2.ScheduleTally(
        fired=tally.fired,
        skipped=tally.skipped,
        missed=tally.missed,
        dropped=tally.dropped,
        delayed=tally.delayed,
        by_hand=tally.by_hand,
    )


def _firing(state: State, firing: Firing) -> schedules_pb2.Firing:
    job = state.jobs.get(firing.job)
    return schedules_pb2.Firing(
        scheduled_for=firing.nominal,
        at=firing.at,
        outcome=_OUTCOMES[firing.outcome],
        job_id=public_id(state, firing.job) if firing.job else "",
        job_status=job.status.wire if job is not None else "",
        count=firing.count,
    )

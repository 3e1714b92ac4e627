"""Deciding what is due: leases that expired, attempts that ran too long, jobs to promote,
finished jobs and keys to let go. Every step is bounded, so that a million jobs that come due
in the same second are handled over many commits."""

from itertools import islice

from osqueue_service.limits import Limits
from osqueue_service.state.commands import Sweep
from osqueue_service.state.model import Ending, Job
from osqueue_service.state.records import AnyRecord, AttemptEnd, AttemptsEnded, Evicted, Forgotten, Promoted
from osqueue_service.state.retrying import next_step
from osqueue_service.state.state import State

# Expiry and timeout say in the job's history what a worker's error would have said.
_EXPIRED = "no heartbeat arrived before the lease ended"
_TIMED_OUT = "the attempt ran longer than its timeout_ms"


def decide_sweep(state: State, command: Sweep, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], None]:
    """One record per kind of thing that is due."""
    records: list[AnyRecord] = []
    ends = _ended_leases(state, command, now_ms, limits)
    if ends:
        records.append(AttemptsEnded(ends, limits.default_retention_ms, limits.dead_retention_ms))
    promoted = list(islice(state.scheduled.due(now_ms), command.limit))
    if promoted:
        records.append(Promoted(state.next_number, promoted))
    evicted = _evictable(state, now_ms, limits, command.limit)
    if evicted:
        records.append(Evicted(evicted, limits.settled_ttl_ms))
    if command.forget:
        forgotten = Forgotten(
            keys=state.keys.expired(now_ms, command.limit, limits.idempotency_keys),
            requests=state.requests.expired(now_ms, command.limit, limits.request_ids),
            settled=state.settled.expired(now_ms, command.limit, limits.settled_tokens),
        )
        if forgotten.keys or forgotten.requests or forgotten.settled:
            records.append(forgotten)
    return records, None


def is_due(state: State, now_ms: int, limits: Limits) -> bool:
    """Whether a sweep at this moment would find anything but ended leases."""
    urgent, lapse = state.next_urgent_ms(), state.next_lapse_ms()
    return (
        (urgent is not None and urgent <= now_ms)
        or (lapse is not None and lapse <= now_ms)
        or _over_caps(state, limits)
    )


def _ended_leases(state: State, command: Sweep, now_ms: int, limits: Limits) -> list[AttemptEnd]:
    """Timeouts first: an attempt that ran too long ended by that, even if its lease is over too."""
    ends: dict[int, AttemptEnd] = {}
    jitters = iter(command.jitters)
    for number in islice(state.timeouts.due(now_ms), command.limit):
        ends[number] = _end(state.jobs[number], Ending.TIMED_OUT, now_ms, limits, next(jitters, 0.5))
    for number, token in command.expired:
        job = state.jobs.get(number)
        # The lease may have ended since its expiry was noticed: the token decides.
        if job is not None and job.lease is not None and job.lease.token == token and number not in ends:
            ends[number] = _end(job, Ending.EXPIRED, now_ms, limits, next(jitters, 0.5))
    return list(ends.values())


def _end(job: Job, ending: Ending, now_ms: int, limits: Limits, jitter: float) -> AttemptEnd:
    message = _EXPIRED if ending is Ending.EXPIRED else _TIMED_OUT
    # Expiry requeues at once: its wait was the lease. A timeout is the job's doing and backs off like a failure.
    delay_ms = 0 if ending is Ending.EXPIRED else -1
    status, next_at = next_step(job, now_ms, limits, jitter, delay_ms=delay_ms)
    return AttemptEnd(job.number, ending, status, next_at, ending.name, message)


def _evictable(state: State, now_ms: int, limits: Limits, limit: int) -> list[int]:
    """Finished jobs past their retention, then the oldest of those above the caps. Promises are never cut short."""
    numbers = list(islice(state.promised_retention.due(now_ms), limit))
    for retention, count_cap, size, size_cap in (
        (state.retention, limits.finished_jobs, state.finished_bytes, limits.finished_bytes),
        (state.dead_retention, limits.dead_jobs, state.dead_bytes, limits.dead_bytes),
    ):
        due = set(islice(retention.due(now_ms), limit))
        surplus = len(retention) - count_cap
        excess = size - size_cap
        for number in islice(retention, limit):
            if number not in due and surplus <= 0 and excess <= 0:
                break
            numbers.append(number)
            surplus -= 1
            excess -= state.jobs[number].size
    return numbers


def _over_caps(state: State, limits: Limits) -> bool:
    return (
        len(state.retention) > limits.finished_jobs
        or state.finished_bytes > limits.finished_bytes
        or len(state.dead_retention) > limits.dead_jobs
        or state.dead_bytes > limits.dead_bytes
        or len(state.requests) > limits.request_ids
        or len(state.settled) > limits.settled_tokens
    )

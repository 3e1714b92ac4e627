"""The steps that applying a record is made of.

Each job that a record concerns leaves the indexes of the status it has, changes, and enters those of the status it has
then. What does not fit the state is a broken log or a bug.
"""

from collections.abc import Iterable

from osqueue_service.state import batch_ends, blocking, graph_ends, schedule_changes
from osqueue_service.state.consistency import BrokenRecord
from osqueue_service.state.key_changes import free_key, keep_key, outcome_of
from osqueue_service.state.model import (
    SCHEDULED,
    UNCLAIMED,
    Attempt,
    Ending,
    Job,
    JobSpec,
    KeyEntry,
    Status,
    fingerprint,
    one_type_string,
)
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.state import State


def add_jobs(state: State, specs: Iterable[JobSpec], key_ttl_ms: int, at_ms: int) -> None:
    """New jobs, with the next numbers."""
    number = first = state.next_number
    size = 0
    status, moved = UNCLAIMED, moving(state, None, UNCLAIMED, Cause.SUBMITTED)
    for spec in specs:
        delayed = spec.run_at > at_ms
        job = Job(one_type_string(spec), number, at_ms, number, SCHEDULED if delayed else UNCLAIMED)
        if delayed:
            job.due_at = spec.run_at
        if spec.more is not None:
            blocking.block_new(state, job)
        if job.status is not status:
            status = job.status
            moved = moving(state, None, status, Cause.SUBMITTED)
        state.jobs[number] = job
        if spec.more is not None:
            state.graphs.join(job)
            batch_ends.joined(state, job, at_ms)
        enter(state, job, moved)
        size += spec.size
        if spec.more is not None and spec.more.on_dead is not None:
            state.reserved_jobs += 1
        if spec.retention_ms:
            state.promised_jobs += 1
        if spec.idempotency_key:
            entry = KeyEntry(outcome_of(state, job), fingerprint(spec), at_ms + key_ttl_ms)
            state.keys.remember(spec.idempotency_key, entry)
        number += 1
    state.next_number = number
    state.live_bytes += size
    state.counters.submitted += number - first


def job_in(state: State, number: int, *expected: Status) -> Job:
    job = state.jobs.get(number)
    if job is None or job.status not in expected:
        found = "is not there" if job is None else f"is {job.status.wire}"
        raise BrokenRecord(f"job number {number} {found}, expected {' or '.join(s.wire for s in expected)}")
    return job


def end_attempt(
    job: Job,
    kept: int,
    at_ms: int,
    ending: Ending,
    became: Status,
    next_at: int = 0,
    error_type: str = "",
    error_message: str = "",
) -> None:
    lease = job.lease
    assert lease is not None
    attempt = Attempt(
        lease.attempt,
        lease.worker_id,
        lease.token,
        lease.started_at,
        at_ms,
        ending,
        became,
        next_at,
        error_type,
        error_message,
    )
    history = job.history
    job.history = ((*history, attempt)[-kept:] if history else (attempt,)) if kept else ()
    job.lease = None


def finish(state: State, job: Job, status: Status, at_ms: int, retention_ms: int, moved: list[Job]) -> None:
    spec = job.spec
    job.status = status
    job.due_at = 0
    job.finished_at = at_ms
    job.keep_until = at_ms + (spec.retention_ms or retention_ms)
    enter(state, job, moved)
    if spec.more is None:
        state.live_bytes -= spec.size
        return
    count_live(state, spec, -1)
    keep_key(state, job)
    moved_on(state, job)
    batch_ends.ended(state, job)


def moved_on(state: State, job: Job) -> None:
    """A job came to its end, lives again, or is gone; only those that have `more` concern anybody else."""
    schedule_changes.job_moved(state, job)
    graph_ends.job_moved(state, job)


def count_live(state: State, spec: JobSpec, sign: int) -> None:
    """The job is live from now on, or no longer."""
    state.live_bytes += sign * spec.size
    if spec.more is not None and spec.more.on_dead is not None:
        state.reserved_jobs += sign


def wait_again(state: State, job: Job, moved: list[Job]) -> None:
    """The job waits behind all others of its priority."""
    job.status = UNCLAIMED
    job.due_at = 0
    job.place = state.next_number
    state.next_number += 1
    enter(state, job, moved)


def remove(state: State, job: Job, cause: Cause) -> None:
    """The job is no longer kept."""
    moving(state, job.status, None, cause).append(job)
    if cause is Cause.PURGED and job.spec.more is not None:
        graph_ends.purged(state, job)
        batch_ends.purged(state, job)
    leave(state, job)
    del state.jobs[job.number]
    if job.spec.id:
        del state.aliases[job.spec.id]
    if job.spec.retention_ms:
        state.promised_jobs -= 1
    if job.spec.more is not None:
        state.graphs.part(job)
        state.batches.part(job, state.jobs)
        moved_on(state, job)
        if cause is Cause.PURGED:
            free_key(state, job)

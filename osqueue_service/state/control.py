"""Deciding what operators ask: cancel, retry, purge, pause, resume."""

from collections.abc import Sequence
from typing import assert_never

from osqueue_service.errors import InvalidRequest, OsqueueError, QueueFull, UniqueConflict, kept
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Cancel, NoteStepDown, PauseTypes, Purge, ResumeTypes, Retry
from osqueue_service.state.model import Job, Status
from osqueue_service.state.records import (
    AnyRecord,
    Cancelled,
    CancelRequested,
    Paused,
    Purged,
    Resumed,
    Retried,
    SteppedDown,
)
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id
from osqueue_service.state.unique import Until
from osqueue_service.state.uniques import name_of


def decide_cancel(
    state: State, command: Cancel, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[Status | OsqueueError]]:
    """A waiting job is cancelled, a running one asked to stop; asking again answers the same."""
    cancelled: dict[int, None] = {}
    requested: dict[int, None] = {}
    answers: list[Status | OsqueueError] = []
    for job in jobs_of(state, command.job_ids):
        if isinstance(job, OsqueueError):
            answers.append(job)
            continue
        match job.status:
            case Status.UNCLAIMED | Status.SCHEDULED | Status.BLOCKED:
                cancelled[job.number] = None
                answers.append(Status.CANCELLED)
            case Status.IN_PROGRESS:
                if not job.cancel_requested:
                    requested[job.number] = None
                answers.append(Status.IN_PROGRESS)
            case Status.COMPLETED | Status.DEAD | Status.CANCELLED:
                answers.append(job.status)
            case _:
                assert_never(job.status)
    records: list[AnyRecord] = []
    if cancelled:
        records.append(Cancelled(list(cancelled), limits.default_retention_ms, command.by))
    if requested:
        records.append(CancelRequested(list(requested), command.by))
    return records, answers


def decide_retry(
    state: State, command: Retry, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[OsqueueError | None]]:
    """Only a dead job can be retried; one that already waits again is left alone."""
    retried: dict[int, None] = {}
    keys: dict[str, Job] = {}
    answers: list[OsqueueError | None] = []
    for job in jobs_of(state, command.job_ids):
        if isinstance(job, OsqueueError):
            answers.append(job)
        elif job.status is Status.DEAD:
            taken = _key_taken(state, job, keys, now_ms) if job.spec.more is not None else None
            if taken is None:
                retried[job.number] = None
            answers.append(taken)
        else:
            answers.append(
                InvalidRequest.field(
                    "job_id", f"job {state.job_id(job)} is {job.status.wire}; only a dead job can be retried"
                )
            )
    return [Retried(state.next_number, list(retried), command.by)] if retried else [], answers


def _key_taken(state: State, job: Job, keys: dict[str, Job], now_ms: int) -> UniqueConflict | None:
    """Why a dead job cannot have its unique key again. `keys` are those that the jobs before it take."""
    unique = job.spec.unique
    if unique is None or unique.until is Until.STARTED:
        return None
    name = name_of(job)
    kept = state.uniques.keeper(name, now_ms)
    holder = state.uniques.holders.get(name) or keys.setdefault(name, job)
    number = holder.number if holder is not job or kept is None else kept.number
    if number == job.number:
        return None
    job_id = public_id(state, number)
    return UniqueConflict(
        f"job {state.job_id(job)} lost its unique key {unique.key!r} when it died, and job {job_id} holds it now: wait "
        "until that one has ended, or cancel it",
        job_id=job_id,
    )


def decide_purge(
    state: State, command: Purge, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[OsqueueError | None]]:
    """Removal for good; a worker that runs the job learns it at its next call."""
    purged: dict[int, None] = {}
    answers: list[OsqueueError | None] = []
    for job in jobs_of(state, command.job_ids):
        if isinstance(job, OsqueueError):
            answers.append(job)
        else:
            purged[job.number] = None
            answers.append(None)
    return [Purged(list(purged), command.by)] if purged else [], answers


def decide_pause(state: State, command: PauseTypes, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], list[str]]:
    """Types need not exist yet."""
    already = state.lines.gates.paused
    new = [name for name in dict.fromkeys(command.types) if name not in already]
    paused = sorted(already.union(new))
    if new and len(paused) > limits.paused_types:
        raise QueueFull(
            f"{len(already):,} types are paused; at most {limits.paused_types:,} may be (paused_types): "
            "resume those that no job has any more"
        )
    return [Paused(new, command.by)] if new else [], paused


def decide_resume(state: State, command: ResumeTypes, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], list[str]]:
    """Resuming what is not paused changes nothing."""
    already = state.lines.gates.paused
    gone = [name for name in dict.fromkeys(command.types) if name in already]
    paused = sorted(already.difference(gone))
    return [Resumed(gone, command.by)] if gone else [], paused


def decide_note_step_down(
    state: State, command: NoteStepDown, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], None]:
    """A record only where somebody is named."""
    return [SteppedDown(command.by)] if command.by is not None else [], None


def jobs_of(state: State, job_ids: Sequence[str]) -> list[Job | OsqueueError]:
    """The jobs of a call, or for each why there is none."""
    found: list[Job | OsqueueError] = []
    for job_id in job_ids:
        try:
            found.append(state.get(job_id))
        except OsqueueError as error:
            found.append(kept(error))
    return found

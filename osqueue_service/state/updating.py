"""Deciding what an operator changes of jobs that wait: when they run, before which others, with what."""

from typing import assert_never

from msgspec.structs import replace

from osqueue_service.errors import InvalidRequest, OsqueueError, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Update
from osqueue_service.state.control import jobs_of
from osqueue_service.state.limiting import Newest
from osqueue_service.state.model import Job, Status
from osqueue_service.state.records import AnyRecord, JobChange, Updated
from osqueue_service.state.state import State


def decide_update(
    state: State, command: Update, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[Status | OsqueueError]]:
    """Only a job that waits can be changed; what is as it should be already is left alone."""
    change = command.change
    if change.run_at is not None and change.run_at <= now_ms:
        change = replace(change, run_at=now_ms)
    updated: dict[int, None] = {}
    newest = Newest(state, now_ms)
    answers: list[Status | OsqueueError] = []
    room = limits.bytes - state.live_bytes
    for job in jobs_of(state, command.job_ids):
        if isinstance(job, OsqueueError):
            answers.append(job)
            continue
        status = _status_after(job, change, now_ms)
        if status is None:
            answers.append(_refusal(state, job))
            continue
        if job.number in updated or not _differs(job, change, status, now_ms):
            answers.append(status)
            continue
        grows = change.of(job.spec).size - job.spec.size
        refusal = _too_large(state, job, grows, room, limits) or _without_room(state, job, status, newest)
        answers.append(refusal or status)
        if refusal is None:
            room -= grows
            updated[job.number] = None
    return [Updated(state.next_number, list(updated), change, command.by)] if updated else [], answers


def _status_after(job: Job, change: JobChange, now_ms: int) -> Status | None:
    """The status that the job then has; None for one that cannot be changed any more."""
    match job.status:
        case Status.BLOCKED:
            return Status.BLOCKED
        case Status.UNCLAIMED | Status.SCHEDULED:
            if change.run_at is None:
                return job.status
            return Status.SCHEDULED if change.run_at > now_ms else Status.UNCLAIMED
        case Status.IN_PROGRESS | Status.COMPLETED | Status.DEAD | Status.CANCELLED:
            return None
        case _:
            assert_never(job.status)


def _differs(job: Job, change: JobChange, status: Status, now_ms: int) -> bool:
    """Whether anything comes of the change. A job whose time has come gains nothing from being told to run."""
    comes = change.run_at is not None and change.run_at <= now_ms
    has_come = job.status is Status.UNCLAIMED or (job.status is Status.BLOCKED and job.spec.run_at <= now_ms)
    if change.of(job.spec, its_time=not (comes and has_come)) != job.spec:
        return True
    return job.status is not status or (status is Status.SCHEDULED and job.due_at != (change.run_at or job.due_at))


def _too_large(state: State, job: Job, grows: int, room: int, limits: Limits) -> OsqueueError | None:
    if grows <= max(0, room):
        return None
    return QueueFull(
        f"job {state.job_id(job)} would be {grows} bytes larger, and the live jobs would take more than {limits.bytes} "
        "bytes, which is the limit (bytes): let workers catch up, or send less",
        retry_after_ms=1_000,
    )


def _without_room(state: State, job: Job, status: Status, newest: Newest) -> OsqueueError | None:
    """Why a job may not become due now: a limit without room cancels what becomes due for the first time."""
    becomes_due = job.status is Status.SCHEDULED and status is Status.UNCLAIMED
    if not becomes_due or job.claims or not job.spec.limits or not newest.has_to_go(job.spec):
        return None
    return InvalidRequest.field(
        "job_id",
        f"job {state.job_id(job)} is under a limit that has no room, and cancels whatever becomes due then: run it "
        "once there is room",
    )


def _refusal(state: State, job: Job) -> OsqueueError:
    job_id = state.job_id(job)
    match job.status:
        case Status.IN_PROGRESS:
            way_out = "wait until its attempt has ended, or cancel it and submit another"
        case Status.DEAD:
            way_out = "retry it first, or submit another"
        case _:
            way_out = "submit another"
    return InvalidRequest.field(
        "job_id", f"job {job_id} is {job.status.wire}; only a job that waits can be changed: {way_out}"
    )

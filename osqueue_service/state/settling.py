"""Deciding how attempts end: completed, failed or released by the worker that holds the lease.

The right to end an attempt is proven by its lease token. The last action of a token may be
repeated: it answers as it did and changes nothing, so that a worker whose answer was lost
can ask again.
"""

from osqueue_service.errors import LeaseLost, OsqueueError, kept
from osqueue_service.limits import Limits
from osqueue_service.state.commands import (
    Complete,
    CompleteItem,
    Fail,
    FailAnswer,
    FailItem,
    Followed,
    Release,
    ReleaseItem,
)
from osqueue_service.state.following import FollowUps, followed_before
from osqueue_service.state.metering import Corrections
from osqueue_service.state.model import Attempt, Ending, Job, SettledEntry, Status
from osqueue_service.state.records import AnyRecord, AttemptEnd, AttemptsEnded, Completed, Completion
from osqueue_service.state.retrying import attempts_kept, message_kept, next_step
from osqueue_service.state.state import State

Item = CompleteItem | FailItem | ReleaseItem


def decide_complete(
    state: State, command: Complete, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[Followed | OsqueueError | None]]:
    """Completion wins even when cancellation was requested; but nothing follows it then."""
    completions: list[Completion] = []
    seen: dict[int, Followed | None] = {}
    answers: list[Followed | OsqueueError | None] = []
    following: FollowUps | None = None
    corrections = Corrections(state, now_ms)
    done = Ending.COMPLETED
    for item in command.items:
        try:
            job = _current(state, item, done, now_ms, limits)
            if not isinstance(job, Job):
                answers.append(followed_before(state, job, state.find(item.job_id), now_ms))
                continue
            if job.number not in seen:
                if item.report is not None:
                    corrections.check(job, item.report)
                    corrections.add(job, item.report)
                followed = None
                if item.follow_ups:
                    following = following or FollowUps(state, now_ms, limits)
                    followed = following.add(job, item.follow_ups)
                seen[job.number] = followed
                completions.append(Completion(job.number, item.result))
            answers.append(seen[job.number])
        except OsqueueError as error:
            answers.append(kept(error))
    records = _completed(completions, limits) + corrections.records()
    # What follows comes first: whoever counts what is left must never see none in between.
    return records if following is None else [following.record(), *records], answers


def decide_fail(
    state: State, command: Fail, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[FailAnswer | OsqueueError]]:
    """A failed attempt waits for its next one, or was the last: then the job is dead in the same commit."""
    corrections = Corrections(state, now_ms)
    ends: dict[int, AttemptEnd] = {}
    answers: list[FailAnswer | OsqueueError] = []
    for item in command.items:
        try:
            job = _current(state, item, Ending.FAILED, now_ms, limits)
            if not isinstance(job, Job):
                answers.append(FailAnswer(job.became, job.next_at))
                continue
            end = ends.get(job.number)
            if end is None:
                if item.report is not None:
                    corrections.check(job, item.report)
                    corrections.add(job, item.report)
                status, next_at = next_step(job, now_ms, limits, item.jitter, item.retryable, item.retry_delay_ms)
                message = message_kept(state, limits, item.error_message, status)
                end = AttemptEnd(job.number, Ending.FAILED, status, next_at, item.error_type, message)
                ends[job.number] = end
            answers.append(FailAnswer(end.status, end.next_at))
        except OsqueueError as error:
            answers.append(kept(error))
    return _attempts_ended(state, list(ends.values()), limits) + corrections.records(), answers


def decide_release(
    state: State, command: Release, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], list[Status | OsqueueError]]:
    """The job waits at its old place, unless it was to be cancelled."""
    corrections = Corrections(state, now_ms)
    ends: dict[int, AttemptEnd] = {}
    answers: list[Status | OsqueueError] = []
    for item in command.items:
        try:
            job = _current(state, item, Ending.RELEASED, now_ms, limits)
            if isinstance(job, Job):
                if job.spec.limits or item.report is not None:
                    corrections.check(job, item.report)
                    if job.number not in ends:
                        corrections.add(job, item.report, released=True)
                status = Status.CANCELLED if job.cancel_requested else Status.UNCLAIMED
                ends[job.number] = AttemptEnd(job.number, Ending.RELEASED, status)
                answers.append(status)
            else:
                answers.append(job.became)
        except OsqueueError as error:
            answers.append(kept(error))
    return _attempts_ended(state, list(ends.values()), limits) + corrections.records(), answers


def holder(state: State, job_id: str, worker_id: str, token: str) -> Job:
    """The job, if the caller holds its lease; LEASE_LOST or JOB_NOT_FOUND otherwise."""
    job = state.get(job_id)
    lease = job.lease
    if lease is None or not _proves(state, lease.token, lease.worker_id, worker_id, token):
        raise _lost(state, job, worker_id, token)
    if token:
        state.shown_tokens.add(token)
    return job


def _completed(items: list[Completion], limits: Limits) -> list[AnyRecord]:
    return [Completed(items, limits.default_retention_ms, limits.history_attempts)] if items else []


def _attempts_ended(state: State, ends: list[AttemptEnd], limits: Limits) -> list[AnyRecord]:
    if not ends:
        return []
    kept = attempts_kept(state, limits)
    return [AttemptsEnded(ends, limits.default_retention_ms, limits.dead_retention_ms, kept)]


def _proves(state: State, lease_token: str, lease_worker: str, worker_id: str, token: str) -> bool:
    """A token decides. Without one the worker id does, unless the token of this lease was ever shown."""
    if token:
        return token == lease_token
    return worker_id == lease_worker and lease_token not in state.shown_tokens


def _current(state: State, item: Item, ending: Ending, now_ms: int, limits: Limits) -> Job | Attempt | SettledEntry:
    """The job whose lease the caller holds; or how its attempt ended, if by this very action, recently."""
    job = state.find(item.job_id)
    if job is None:
        entry = state.settled.get(item.token, now_ms) if item.token else None
        if entry is not None and entry.ending is ending and _may_name(state, item.job_id, entry.number):
            return entry
        return state.get(item.job_id)
    lease = job.lease
    if lease is not None and _proves(state, lease.token, lease.worker_id, item.worker_id, item.token):
        return job
    attempt = _ended(job, item)
    if attempt is not None and attempt.ending is ending and now_ms - attempt.ended_at <= limits.settled_ttl_ms:
        return attempt
    raise _lost(state, job, item.worker_id, item.token)


def _may_name(state: State, job_id: str, number: int) -> bool:
    """Whether this was the id of a job that is no longer kept. Of an adopted one the id is forgotten: its token says
    enough."""
    return job_id == state.id_of_number(number) or not state.ids.owns(job_id)


def _ended(job: Job, item: Item) -> Attempt | None:
    """The attempt that the caller ended. Without a token only the job's last attempt can be meant."""
    if item.token:
        return next((a for a in reversed(job.history) if a.token == item.token), None)
    if job.lease is None and job.history and job.history[-1].worker_id == item.worker_id:
        return job.history[-1]
    return None


def _lost(state: State, job: Job, worker_id: str, token: str) -> OsqueueError:
    """Why the caller may not end the attempt, in terms of what it can do."""
    name = f"job {state.job_id(job)}"
    lease = job.lease
    if lease is not None:
        if not token and lease.worker_id == worker_id:
            return LeaseLost(f"{name} was claimed with a lease token, which was shown before: send lease_token")
        return LeaseLost(
            f"the lease is not current: {name} is leased by worker {lease.worker_id!r} (attempt {lease.attempt}). "
            "Stop working on it; claim again to get another job"
        )
    if job.history and job.history[-1].token == token and token:
        return LeaseLost(f"the lease ended: attempt {job.history[-1].number} of {name} {_how(job.history[-1])}")
    return LeaseLost(f"the lease is not current: {name} is {job.status.wire}. Stop working on it")


def _how(attempt: Attempt) -> str:
    match attempt.ending:
        case Ending.EXPIRED:
            return "expired because no heartbeat came in time"
        case Ending.TIMED_OUT:
            return "ran longer than timeout_ms"
        case ending:
            return f"was {ending.name.lower()}"

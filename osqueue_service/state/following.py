"""Deciding what follows a job's end: the follow-ups of its completion, and what it asked for in case of its death.

Both are in the commit of the end itself. A completion is never refused for the sake of what
follows it, so follow-ups may go beyond the queue's limits by a reserve; what a death submits
has had its room since the job was submitted.
"""

from collections.abc import Sequence
from dataclasses import replace as with_changes

from msgspec.structs import replace

from osqueue_service.errors import OsqueueError, QueueFull, kept
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Followed, SubmitAnswer
from osqueue_service.state.model import (
    FOLLOW_UP,
    ON_DEAD,
    Attempt,
    Job,
    JobSpec,
    MoreOfSpec,
    Origin,
    SettledEntry,
)
from osqueue_service.state.records import AnyRecord, FollowedUp, Following
from osqueue_service.state.state import State
from osqueue_service.state.submission import REFUSED, Admission, public_id


class FollowUps:
    """Those of one call's completions."""

    def __init__(self, state: State, now_ms: int, limits: Limits) -> None:
        self._first = state.next_number
        self._key_ttl_ms = limits.idempotency_ttl_ms
        reserve = with_changes(
            limits, jobs=limits.jobs + limits.reserve_jobs, bytes=limits.bytes + limits.reserve_bytes
        )
        self._admission = Admission(state, now_ms, reserve, own=True)
        self._items: list[Following] = []

    def add(self, job: Job, specs: Sequence[JobSpec]) -> Followed:
        """What follows the completion of this job, and its answer."""
        if job.cancel_requested:
            self._items.append(Following(job.number, [], withheld=True))
            return Followed(withheld=True)
        admission = self._admission
        admission.joins = job.spec.more.batch if job.spec.more is not None else 0
        new, numbers = len(admission.new), len(admission.numbers)
        origin = Origin(job.number, FOLLOW_UP, job.claims)
        answers: list[SubmitAnswer | OsqueueError] = []
        for spec in specs:
            try:
                answers.append(admission.admit(_from(spec, origin)))
            except OsqueueError as error:
                admission.numbers.append(REFUSED)
                answers.append(kept(error))
        jobs, said = admission.new[new:], admission.numbers[numbers:]
        self._items.append(Following(job.number, jobs, tuple(said) if len(jobs) < len(said) else ()))
        return Followed(tuple(answers))

    def record(self) -> AnyRecord:
        """All of them."""
        return FollowedUp(self._first, self._items, self._key_ttl_ms)


def followed_before(state: State, end: Attempt | SettledEntry, job: Job | None, now_ms: int) -> Followed | None:
    """What this completion was answered when it happened; None where nothing was to follow it."""
    if job is not None and job.more is not None:
        numbers, withheld = job.more.follow_ups, job.more.withheld
    elif job is None and (entry := state.followed.get(end.token, now_ms)) is not None:
        numbers, withheld = entry.numbers, entry.withheld
    else:
        return None
    return Followed(tuple(_again(state, number) for number in numbers), withheld) if numbers or withheld else None


def _again(state: State, number: int) -> SubmitAnswer | OsqueueError:
    if number == REFUSED:
        return QueueFull("this follow-up was refused when its job was completed; submit it yourself if it is wanted")
    return SubmitAnswer(public_id(state, abs(number)), deduplicated=number < 0)


def decide_on_dead(state: State) -> list[AnyRecord]:
    """What those ask for that have just died."""
    first = state.next_number
    items = [Following(number, [state.limits.attach(_on_dead(state.jobs[number]))]) for number in state.died]
    return [FollowedUp(first, items)] if items else []


def _on_dead(job: Job) -> JobSpec:
    spec = job.spec.on_dead
    assert spec is not None
    last = job.history[-1] if job.history else None
    error_type, error_message = (last.error_type, last.error_message) if last else ("", "")
    return _from(spec, Origin(job.number, ON_DEAD, job.claims, error_type, error_message))


def _from(spec: JobSpec, origin: Origin) -> JobSpec:
    return replace(spec, more=replace(spec.more or MoreOfSpec(), origin=origin))

"""The only code that changes a State: one function per record, the same live and in replay.

A record has been decided already, so nothing here can refuse. What does not fit the state
is a broken log or a bug: `BrokenRecord`, and the broker stops.

Each job that a record concerns takes the same three steps: it leaves the indexes of the
status it has (a checkpoint that is being written copies it in that moment, so nothing may
change before), it changes, and it enters those of the status it has then. Entering is what
tells the followers, so a change that forgets them would forget the indexes, too.
"""

from collections.abc import Callable
from typing import Any, assert_never

from osqueue_service.state import batch_changes, batch_ends, blocking, graph_changes, schedule_changes
from osqueue_service.state.consistency import BrokenRecord, require
from osqueue_service.state.followed import followed_up
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.key_changes import keep_key, keys_answered, unique_keys_freed
from osqueue_service.state.model import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD,
    FINISHED,
    IN_PROGRESS,
    SCHEDULED,
    UNCLAIMED,
    Counters,
    Ending,
    FollowedEntry,
    Job,
    Lease,
    RequestEntry,
    SettledEntry,
    Status,
)
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import changing, enter, leave, moving
from osqueue_service.state.records import (
    MANAGED,
    AnyRecord,
    AttemptsEnded,
    BatchesMoved,
    BatchOpened,
    CalledBack,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    CutOff,
    Evicted,
    FairnessWeighed,
    Fired,
    FollowedUp,
    Forgotten,
    Founded,
    IdsRenewed,
    KeysAnswered,
    LimitDeleted,
    LimitOverridden,
    LimitPut,
    Metered,
    OverridesEnded,
    Paused,
    Promoted,
    Purged,
    Record,
    Replaced,
    Resumed,
    Retried,
    Revived,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
    SteppedDown,
    Submitted,
    Unblocked,
    UniqueKeysFreed,
    Updated,
    WorkflowAdded,
    WorkflowCancelled,
)
from osqueue_service.state.replacing import replaced
from osqueue_service.state.state import State
from osqueue_service.state.steps import add_jobs, count_live, end_attempt, finish, job_in, moved_on, remove, wait_again
from osqueue_service.state.updated import updated


def apply(state: State, record: AnyRecord, at_ms: int) -> None:
    """Make the change that the record says happened at `at_ms`."""
    state.stamp_ms = at_ms
    kind = type(record)
    if kind in MANAGED:
        state.audit.note(record, at_ms, state)
    _APPLY[kind](state, record, at_ms)
    if state.opened:
        blocking.let_go(state, at_ms)


def _founded(state: State, record: Founded, at_ms: int) -> None:
    require(not state.salt, "the queue is founded twice")
    state.ids = JobIds(record.salt, record.ids_from, state.ids.queue)


def _submitted(state: State, record: Submitted, at_ms: int) -> None:
    first = record.first
    require(first == state.next_number, "jobs are numbered out of order")
    add_jobs(state, record.jobs, record.key_ttl_ms, at_ms)
    if record.request:
        expires_at = at_ms + record.request_ttl_ms
        entry = RequestEntry(record.fingerprint, expires_at, first, len(record.jobs), record.numbers)
        state.requests.remember(record.request, entry)
    state.counters.deduplicated += record.deduplicated


def _claimed(state: State, record: Claimed, at_ms: int) -> None:
    worker_id, claim_key = record.worker_id, record.claim_key
    moved = moving(state, UNCLAIMED, IN_PROGRESS, Cause.CLAIMED)
    for grant in record.grants:
        job = job_in(state, grant.number, UNCLAIMED)
        if state.lines.fairness.levels:
            state.lines.serve(job)
        leave(state, job)
        job.attempts += 1
        job.claims += 1
        job.lease = Lease(grant.token, worker_id, job.claims, at_ms, grant.lease_ms, claim_key)
        job.status = IN_PROGRESS
        enter(state, job, moved)
        if job.spec.more is not None:
            keep_key(state, job)
    state.counters.claimed += len(record.grants)


def _completed(state: State, record: Completed, at_ms: int) -> None:
    done = Ending.COMPLETED
    moved = moving(state, IN_PROGRESS, COMPLETED, Cause.COMPLETED)
    for item in record.items:
        job = job_in(state, item.number, IN_PROGRESS)
        leave(state, job)
        end_attempt(job, record.history, at_ms, done, COMPLETED)
        job.result = item.result
        finish(state, job, COMPLETED, at_ms, record.retention_ms, moved)
    state.counters.completed += len(record.items)


def _attempts_ended(state: State, record: AttemptsEnded, at_ms: int) -> None:
    counters = state.counters
    for item in record.items:
        job = job_in(state, item.number, IN_PROGRESS)
        leave(state, job)
        end_attempt(
            job, record.history, at_ms, item.ending, item.status, item.next_at, item.error_type, item.error_message
        )
        cause = _count_ending(counters, job, item.ending)
        moved = moving(state, IN_PROGRESS, item.status, cause)
        status = item.status
        if status is DEAD:
            finish(state, job, DEAD, at_ms, record.dead_retention_ms, moved)
            counters.died += 1
            if job.spec.on_dead is not None:
                state.died.append(job.number)
        elif status is CANCELLED:
            finish(state, job, CANCELLED, at_ms, record.retention_ms, moved)
            counters.cancelled += 1
        elif status is UNCLAIMED or status is SCHEDULED:
            job.status = status
            job.due_at = item.next_at
            enter(state, job, moved)
        elif status is COMPLETED or status is IN_PROGRESS or status is BLOCKED:
            raise BrokenRecord(f"an attempt of job number {job.number} ended and left it {status.wire}")
        else:
            assert_never(status)


def _count_ending(counters: Counters, job: Job, ending: Ending) -> Cause:
    """Count how an attempt ended without success; the cause of the job's move."""
    match ending:
        case Ending.FAILED:
            counters.failed += 1
            return Cause.FAILED
        case Ending.EXPIRED:
            counters.expired += 1
            return Cause.EXPIRED
        case Ending.TIMED_OUT:
            counters.timed_out += 1
            return Cause.TIMED_OUT
        case Ending.RELEASED:
            counters.released += 1
            job.attempts -= 1  # a job that was given back was not tried
            return Cause.RELEASED
        case Ending.COMPLETED | Ending.CANCELLED:
            raise BrokenRecord(f"an attempt of job number {job.number} ended as {ending.name} without success")
        case _:
            assert_never(ending)


def _promoted(state: State, record: Promoted, at_ms: int) -> None:
    require(record.first == state.next_number, "places are given out of order")
    moved = moving(state, SCHEDULED, UNCLAIMED, Cause.PROMOTED)
    for number in record.numbers:
        job = job_in(state, number, SCHEDULED)
        leave(state, job)
        wait_again(state, job, moved)


def _cancel_requested(state: State, record: CancelRequested, at_ms: int) -> None:
    asked = moving(state, IN_PROGRESS, IN_PROGRESS, Cause.CANCEL_REQUESTED)
    for number in record.numbers:
        job = job_in(state, number, IN_PROGRESS)
        changing(state, job)
        job.cancel_requested = True
        asked.append(job)


def _cancelled(state: State, record: Cancelled, at_ms: int) -> None:
    for number in record.numbers:
        job = job_in(state, number, UNCLAIMED, SCHEDULED, BLOCKED)
        moved = moving(state, job.status, CANCELLED, Cause.CANCELLED)
        leave(state, job)
        finish(state, job, CANCELLED, at_ms, record.retention_ms, moved)
    state.counters.cancelled += len(record.numbers)


def _retried(state: State, record: Retried, at_ms: int) -> None:
    require(record.first == state.next_number, "places are given out of order")
    moved = moving(state, DEAD, UNCLAIMED, Cause.RETRIED)
    for number in record.numbers:
        job = job_in(state, number, DEAD)
        leave(state, job)
        job.attempts = 0
        job.finished_at = job.keep_until = 0
        job.cancel_requested = False
        count_live(state, job.spec, 1)
        job.waits_since = at_ms
        if job.spec.more is None or not blocking.queue_up_again(state, job):
            wait_again(state, job, moved)
        if job.spec.more is not None:
            moved_on(state, job)
            batch_ends.reopened(state, job)
    state.counters.retried += len(record.numbers)


def _evicted(state: State, record: Evicted, at_ms: int) -> None:
    for number in record.numbers:
        job = job_in(state, number, *FINISHED)
        for end in job.history:
            expires_at = end.ended_at + record.settled_ttl_ms
            if expires_at > at_ms and end.token:
                entry = SettledEntry(end.token, number, end.worker_id, end.ending, end.became, expires_at, end.next_at)
                state.settled.remember(end.token, entry)
                if end.ending is Ending.COMPLETED and job.more is not None:
                    followed = FollowedEntry(expires_at, job.more.follow_ups, job.more.withheld)
                    state.followed.remember(end.token, followed)
        if job.status is DEAD:
            state.counters.dead_evicted += 1
        state.counters.evicted += 1
        remove(state, job, Cause.EVICTED)


def _forgotten(state: State, record: Forgotten, at_ms: int) -> None:
    for memory, keys in (
        (state.keys, record.keys),
        (state.requests, record.requests),
        (state.settled, record.settled),
    ):
        require(all(key in memory for key in keys), "something is forgotten that is not remembered")
        memory.forget(keys)
    if len(state.followed):
        state.followed.forget([token for token in record.settled if token in state.followed])


def _purged(state: State, record: Purged, at_ms: int) -> None:
    for number in record.numbers:
        job = job_in(state, number, *Status)
        if job.status is DEAD:
            state.counters.dead_purged += 1
        elif not job.status.finished:
            state.counters.live_purged += 1
            count_live(state, job.spec, -1)
        remove(state, job, Cause.PURGED)
    state.counters.purged += len(record.numbers)


def _paused(state: State, record: Paused, at_ms: int) -> None:
    for name in record.types:
        state.lines.pause(name)


def _resumed(state: State, record: Resumed, at_ms: int) -> None:
    for name in record.types:
        state.lines.resume(name)


def _ids_renewed(state: State, record: IdsRenewed, at_ms: int) -> None:
    require(record.first == state.next_number and not state.ids.since, "the ids are renewed out of turn")
    state.ids = JobIds(state.salt, record.first, state.ids.queue)


def _stepped_down(state: State, record: SteppedDown, at_ms: int) -> None:
    """For an audit to show; the queue is as it was."""


def _fired(state: State, record: Fired, at_ms: int) -> None:
    jobs = [state.limits.attach(spec) for spec in schedule_changes.jobs_of(state, record)]
    if jobs:
        call = (record.request, record.request_ttl_ms, record.fingerprint)
        _submitted(state, Submitted(record.first, jobs, 0, 0, *call), at_ms)
    schedule_changes.fired(state, record, at_ms)


def _limit_put(state: State, record: LimitPut, at_ms: int) -> None:
    state.limits.put(record.limit)


def _fairness_weighed(state: State, record: FairnessWeighed, at_ms: int) -> None:
    state.fairness.weigh(record.key, record.weight)


def _limit_deleted(state: State, record: LimitDeleted, at_ms: int) -> None:
    require(state.limits.get(record.limit) is not None, f"the limit {record.limit!r} is not there")
    state.limits.delete(record.limit)


def _limit_overridden(state: State, record: LimitOverridden, at_ms: int) -> None:
    require(state.limits.get(record.limit) is not None, f"the limit {record.limit!r} is not there")
    state.limits.set_override(record.limit, record.key, record.override)


def _metered(state: State, record: Metered, at_ms: int) -> None:
    for meter in record.meters:
        state.limits.set_meter(meter)


def _overrides_ended(state: State, record: OverridesEnded, at_ms: int) -> None:
    for name, key in record.keys:
        known = state.limits.known(name, key)
        require(known is not None and known.override is not None, f"the limit {name!r} has no override of {key!r}")
        state.limits.set_override(name, key, None)


_APPLY: dict[type[Record], Callable[[State, Any, int], None]] = {
    Founded: _founded,
    Submitted: _submitted,
    Claimed: _claimed,
    Completed: _completed,
    AttemptsEnded: _attempts_ended,
    Promoted: _promoted,
    Updated: updated,
    CancelRequested: _cancel_requested,
    Cancelled: _cancelled,
    Retried: _retried,
    Evicted: _evicted,
    Forgotten: _forgotten,
    Purged: _purged,
    Paused: _paused,
    Resumed: _resumed,
    IdsRenewed: _ids_renewed,
    SteppedDown: _stepped_down,
    FollowedUp: followed_up,
    SchedulePut: schedule_changes.put,
    SchedulesRemoved: schedule_changes.removed,
    SchedulesPaused: schedule_changes.paused,
    ScheduleResumed: schedule_changes.resumed,
    Fired: _fired,
    LimitPut: _limit_put,
    LimitDeleted: _limit_deleted,
    LimitOverridden: _limit_overridden,
    Metered: _metered,
    OverridesEnded: _overrides_ended,
    FairnessWeighed: _fairness_weighed,
    Replaced: replaced,
    KeysAnswered: keys_answered,
    UniqueKeysFreed: unique_keys_freed,
    WorkflowAdded: graph_changes.added,
    Unblocked: graph_changes.unblocked,
    CutOff: graph_changes.cut_off,
    Revived: graph_changes.revived,
    WorkflowCancelled: graph_changes.workflow_cancelled,
    BatchOpened: batch_changes.opened,
    BatchesMoved: batch_changes.moved,
    CalledBack: batch_changes.called_back,
}

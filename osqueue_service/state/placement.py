"""Where a job stands: in and out of every index of its status.

A job is in the indexes of exactly one status. It leaves them, changes, and enters those of
the status it has then; nothing else touches an index. Each entry is told as a `Move` to
whoever follows the state.
"""

from collections.abc import Callable
from typing import assert_never

from osqueue_service.state.index import Deadlines, Index
from osqueue_service.state.model import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD,
    FINISHED,
    IN_PROGRESS,
    SCHEDULED,
    UNCLAIMED,
    Job,
    JobSpec,
    Lease,
    MoreOfSpec,
    Status,
)
from osqueue_service.state.moves import Cause, Moves
from osqueue_service.state.state import State
from osqueue_service.state.unique import AfterDead, Until


def moving(state: State, source: Status | None, target: Status | None, cause: Cause) -> list[Job]:
    """Where the jobs that go this way are listed. One list for all of a record's, because finding it for each of them
    would cost a tenth of what a job costs."""
    moves = state.moves
    if moves is None:
        return []
    if moves and moves[-1].cause is cause and moves[-1].target is target and moves[-1].source is source:
        return moves[-1].jobs
    moves.append(Moves(source, target, cause, []))
    return moves[-1].jobs


def changing(state: State, job: Job) -> None:
    """The job is about to change and keeps its status: a checkpoint that is being written takes its copy now."""
    if state.before_change is not None:
        state.before_change(job)


def _retention(state: State, job: Job) -> Deadlines | None:
    """Where it is listed when it may be let go; nowhere while others wait for what a dead job holds."""
    if job.spec.more is not None:
        if job.status is DEAD and held_when_dead(job.spec):
            return None
        if state.graphs.pins(job):
            return state.graphs.pinned
    if job.spec.retention_ms:
        return state.promised_retention
    return state.dead_retention if job.status is DEAD else state.retention


def held_when_dead(spec: JobSpec) -> bool:
    """Whether a dead job goes on holding what others wait for: it ends by a retry or a purge only."""
    more = spec.more
    if more is None:
        return False
    if more.unique is not None and more.unique.until is Until.SUCCEEDED:
        return True
    return more.sequence is not None and more.sequence.after_dead is AfterDead.HOLD


def _leave_gates(state: State, job: Job) -> None:
    """The job holds nothing while it changes; those behind it may go on, unless it comes back."""
    state.graphs.leave(job)
    if job.spec.unique is not None and (successor := state.uniques.leave(job)) is not None:
        state.opened.append(successor)
    if job.spec.sequence is not None and (following := state.sequences.leave(job)) is not None:
        state.opened.append(following)


def leave(state: State, job: Job) -> None:
    """Take the job out of every index of the status it has; it keeps its lease for `_end_attempt`."""
    if state.before_change is not None:
        state.before_change(job)
    status = job.status
    assert job.roster_node is not None
    if job.history and status not in FINISHED:
        state.history_bytes -= job.history_bytes
    state.rosters[status].remove(job.roster_node)
    job.roster_node = None
    counts = state.type_counts[job.spec.type]
    counts[status] -= 1
    if not counts[status] and not any(counts):
        del state.type_counts[job.spec.type]
    if job.spec.more is not None:
        _leave_gates(state, job)
    if status is UNCLAIMED:
        state.lines.remove(job)
    elif status is IN_PROGRESS:
        _forget_lease(state, job)
    elif status is COMPLETED or status is DEAD or status is CANCELLED:
        _unlist_finished(state, job)
        if status is DEAD:
            _leave_dead_group(state, job)
    elif status is SCHEDULED:
        state.scheduled.remove(job.due_at, job.number)
    elif status is BLOCKED:
        pass  # it is in no line; the gates know it
    else:
        assert_never(status)
    if job.spec.more is not None and not status.finished:
        _count(state, job, job.spec.more, -1)


def enter(state: State, job: Job, moved: list[Job]) -> None:
    """Put the job into every index of the status it now has, and into the list of those that `moving` this way."""
    moved.append(job)
    status = job.status
    if job.history and status not in FINISHED:
        state.history_bytes += job.history_bytes
    job.roster_node = state.rosters[status].add(job.number, job)
    counts = state.type_counts.get(job.spec.type)
    if counts is None:
        counts = state.type_counts[job.spec.type] = [0] * len(Status)
    counts[status] += 1
    if job.spec.more is not None:
        _enter_keys(state, job, job.spec.more)
    if status is UNCLAIMED:
        state.lines.add(job)
    elif status is IN_PROGRESS:
        lease = job.lease
        assert lease is not None
        if job.spec.timeout_ms:
            state.timeouts.add(lease.started_at + job.spec.timeout_ms, job.number)
        if lease.claim_key:
            state.claims.setdefault((lease.worker_id, lease.claim_key), []).append(job.number)
    elif status is COMPLETED or status is DEAD or status is CANCELLED:
        _list_finished(state, job)
        if status is DEAD:
            _enter_dead_group(state, job)
    elif status is SCHEDULED:
        state.scheduled.add(job.due_at, job.number)
    elif status is BLOCKED:
        pass
    else:
        assert_never(status)


def _enter_keys(state: State, job: Job, more: MoreOfSpec) -> None:
    """The job counts against its limits, and holds its keys again or waits behind those that do."""
    if not job.status.finished:
        _count(state, job, more, 1)
    state.graphs.enter(job)
    if more.unique is not None:
        state.uniques.enter(job)
    if more.sequence is not None:
        state.sequences.enter(job)


def _count(state: State, job: Job, more: MoreOfSpec, sign: int) -> None:
    """A live job counts against its limits and for its fairness key: as running while it is leased, as waiting
    otherwise."""
    if more.fairness_key:
        running, waiting = job.status is IN_PROGRESS, job.status is UNCLAIMED
        if running or waiting:
            state.fairness.count(more.fairness_key, sign * waiting, sign * running)
    if not more.limits:
        return
    if job.status is IN_PROGRESS:
        state.limits.run(more.limits, sign)
    else:
        state.limits.wait(more.limits, sign, queued=job.status is UNCLAIMED)


def _forget_lease(state: State, job: Job) -> None:
    lease = job.lease
    assert lease is not None
    if job.spec.timeout_ms:
        begun_at = state.begun.pop(job.number, lease.started_at)
        state.timeouts.remove(begun_at + job.spec.timeout_ms, job.number)
    if lease.claim_key:
        _unlist_claim(state, lease, job.number)
    state.shown_tokens.discard(lease.token)


def count_from(state: State, job: Job, begun_at: int) -> None:
    """Count the time of the job's attempt from then on, in queue time; at the latest from the end of the lease that it
    was granted, so that who never begins does not hold it for ever. Heartbeats are in no record: a new leader counts
    from the claim until it hears it, too."""
    lease = job.lease
    assert lease is not None and job.spec.timeout_ms
    before = state.begun.get(job.number, lease.started_at)
    begun_at = min(max(begun_at, lease.started_at), lease.started_at + lease.lease_ms)
    state.timeouts.remove(before + job.spec.timeout_ms, job.number)
    state.timeouts.add(begun_at + job.spec.timeout_ms, job.number)
    state.begun[job.number] = begun_at


def _unlist_finished(state: State, job: Job) -> None:
    retention = _retention(state, job)
    if retention is not None:
        retention.remove(job.keep_until, job.number)
    _count_finished(state, job, -1)


def _list_finished(state: State, job: Job) -> None:
    retention = _retention(state, job)
    if retention is not None:
        retention.add(job.keep_until, job.number)
    _count_finished(state, job, 1)


def refile(state: State, jobs: list[Job], change: Callable[[], None]) -> None:
    """Take these finished jobs out of the tables of what is kept how long, make the change, and file them anew."""
    for job in jobs:
        changing(state, job)
        _unlist_finished(state, job)
    change()
    for job in jobs:
        _list_finished(state, job)


def _unlist_claim(state: State, lease: Lease, number: int) -> None:
    name = (lease.worker_id, lease.claim_key)
    numbers = state.claims[name]
    numbers.remove(number)
    if not numbers:
        del state.claims[name]


def _dead_group(job: Job) -> tuple[str, str]:
    """Dead letters are grouped by type and by what their last attempt died of."""
    return job.spec.type, job.history[-1].error_type if job.history else ""


def _enter_dead_group(state: State, job: Job) -> None:
    group = state.dead_groups.get(_dead_group(job))
    if group is None:
        group = state.dead_groups[_dead_group(job)] = Index()
    job.ready_node = group.add(job.number, job)


def _leave_dead_group(state: State, job: Job) -> None:
    group = state.dead_groups[_dead_group(job)]
    assert job.ready_node is not None
    group.remove(job.ready_node)
    job.ready_node = None
    if not group:
        del state.dead_groups[_dead_group(job)]


def _count_finished(state: State, job: Job, sign: int) -> None:
    size = sign * job.size
    if job.status is DEAD and held_when_dead(job.spec):
        state.held_dead += sign
        state.held_dead_bytes += size
    elif job.spec.more is not None and state.graphs.pins(job):
        state.graphs.pinned_bytes += size
    elif job.spec.retention_ms:
        state.promised_bytes += size
    elif job.status is DEAD:
        state.dead_bytes += size
    else:
        state.finished_bytes += size

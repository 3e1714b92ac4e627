"""What the ends of jobs do to the batches that they are members of."""

from osqueue_service.state import batches
from osqueue_service.state.batches import Batch
from osqueue_service.state.model import CANCELLED, COMPLETED, DEAD, Job
from osqueue_service.state.state import State


def joined(state: State, job: Job, at_ms: int) -> None:
    """A new job is a member."""
    batch = state.batches.of(job)
    if batch is not None:
        add_member(state, batch, at_ms)
        state.batches.join(job)


def add_member(state: State, batch: Batch, at_ms: int) -> None:
    """The batch has one member more: a job, or another batch."""
    batch.total += 1
    if batch.added_at != at_ms:
        state.batches.unfile(batch)
        batch.added_at = at_ms
        state.batches.file(batch)


def ended(state: State, job: Job) -> None:
    """A member has come to its end."""
    batch = state.batches.of(job)
    if batch is not None:
        _count(batch, job, 1)
        _settle(state, batch)


def reopened(state: State, job: Job) -> None:
    """A dead member is live again."""
    batch = state.batches.of(job)
    if batch is not None:
        batch.dead -= 1
        state.batches.reconsider(batch)


def purged(state: State, job: Job) -> None:
    """A member is about to be removed by hand: that ends it, and it counts as nothing else."""
    batch = state.batches.of(job)
    if batch is None:
        return
    if job.status.finished:
        _count(batch, job, -1)
    batch.purged += 1
    _settle(state, batch)


def sealed(state: State, batch: Batch, at_ms: int) -> None:
    """It takes no more members; an empty one has thereby ended."""
    state.batches.unfile(batch)
    batch.sealed_at = at_ms
    state.batches.file(batch)
    _settle(state, batch)


def _count(batch: Batch, job: Job, sign: int) -> None:
    if job.status is COMPLETED:
        batch.completed += sign
    elif job.status is DEAD:
        batch.dead += sign
        batch.died = True
    elif job.status is CANCELLED:
        batch.cancelled += sign


def _settle(state: State, batch: Batch) -> None:
    """Its counts have changed. Where none is left to end it has ended, and so may have the one it is a member of."""
    if not batch.sealed_at or batch.live:
        state.batches.reconsider(batch)
        return
    before = batch.outcome
    batch.outcome = batches.COMPLETED if batch.succeeded else batches.DEAD if batch.dead else batches.NEITHER
    if not batch.finished_at:
        batch.finished_at = state.stamp_ms
        state.batches.file(batch)
    else:
        state.batches.reconsider(batch)
    parent = state.batches.by_number.get(batch.spec.parent)
    if parent is not None and before != batch.outcome:
        if before:
            _count_batch(parent, before, -1)
        _count_batch(parent, batch.outcome, 1)
        _settle(state, parent)


def _count_batch(parent: Batch, outcome: int, sign: int) -> None:
    if outcome == batches.COMPLETED:
        parent.completed += sign
    elif outcome == batches.DEAD:
        parent.dead += sign
        parent.died = True
    else:
        parent.cancelled += sign

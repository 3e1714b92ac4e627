"""Applying the records of batches."""

from typing import assert_never

from msgspec.structs import replace

from osqueue_service.state import batch_ends
from osqueue_service.state.batch_records import BatchesMoved, BatchOpened, CalledBack
from osqueue_service.state.batches import Batch, BatchStep, Callback
from osqueue_service.state.consistency import require
from osqueue_service.state.model import RequestEntry
from osqueue_service.state.state import State
from osqueue_service.state.steps import add_jobs


def opened(state: State, record: BatchOpened, at_ms: int) -> None:
    require(record.number == state.next_number, "a batch has a number that is not the next")
    state.next_number += 1
    batch = Batch(record.number, record.spec, at_ms, at_ms)
    file_batch(state, batch)
    parent = state.batches.by_number.get(record.spec.parent)
    if parent is not None:
        batch_ends.add_member(state, parent, at_ms)
    if record.request:
        entry = RequestEntry(record.fingerprint, at_ms + record.request_ttl_ms, record.number, 0)
        state.requests.remember(record.request, entry)


def file_batch(state: State, batch: Batch) -> None:
    """A batch is there; what it may submit has its room."""
    state.batches.add(batch)
    _reserve(state, batch, 1)


def moved(state: State, record: BatchesMoved, at_ms: int) -> None:
    for number in record.numbers:
        batch = _batch(state, number)
        match record.step:
            case BatchStep.SEALED:
                require(not batch.sealed_at, f"the batch number {number} is sealed twice")
                batch_ends.sealed(state, batch, at_ms)
            case BatchStep.CANCELLED:
                state.batches.unfile(batch)
                batch.cancelled_at = at_ms
                state.batches.file(batch)
                if not batch.sealed_at:
                    batch_ends.sealed(state, batch, at_ms)
            case BatchStep.SWEPT:
                batch.swept = True
                state.batches.cancelling.pop(number, None)
            case BatchStep.FORGOTTEN:
                _reserve(state, batch, -1)
                state.batches.forget(batch)
            case step:
                assert_never(step)


def called_back(state: State, record: CalledBack, at_ms: int) -> None:
    require(record.first == state.next_number, "jobs are numbered out of order")
    for item in record.items:
        batch = _batch(state, item.batch)
        require(not batch.job_of(item.callback), f"the batch number {item.batch} submits the same twice")
        _reserve(state, batch, -1)
        # What was submitted is in the job: the batch keeps it no longer.
        match item.callback:
            case Callback.FIRST_DEAD:
                batch.first_dead_job = state.next_number
                batch.spec = replace(batch.spec, on_first_dead=None)
            case Callback.SUCCESS:
                batch.success_job = state.next_number
                batch.spec = replace(batch.spec, on_success=None)
            case Callback.FINISHED:
                batch.finished_job = state.next_number
                batch.spec = replace(batch.spec, on_finished=None)
            case callback:
                assert_never(callback)
        _reserve(state, batch, 1)
        add_jobs(state, [item.job], 0, at_ms)
        state.batches.reconsider(batch)


def _reserve(state: State, batch: Batch, sign: int) -> None:
    """What the batch may yet submit takes its room from now on, or no longer."""
    waiting = batch.waiting()
    state.reserved_jobs += sign * len(waiting)
    state.live_bytes += sign * sum([spec.size for spec in waiting])


def _batch(state: State, number: int) -> Batch:
    batch = state.batches.by_number.get(number)
    require(batch is not None, f"batch number {number} is not there")
    assert batch is not None
    return batch

"""Deciding what is asked of batches, and what follows from the ends of their members."""

from hashlib import blake2b
from itertools import islice

import msgspec
from msgspec.structs import replace

from osqueue_service.errors import BatchNotFound, IdempotencyConflict, InvalidRequest, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.batch_commands import AddToBatch, CancelBatch, OpenBatch, OpenedBatch, SealBatch
from osqueue_service.state.batch_records import BatchesMoved, BatchOpened, Call, CalledBack
from osqueue_service.state.batches import HOW, NOT_FOUND, Batch, BatchStep, Callback
from osqueue_service.state.commands import Submit
from osqueue_service.state.model import IN_PROGRESS, JobSpec, MoreOfSpec, Origin
from osqueue_service.state.records import AnyRecord, Cancelled, CancelRequested
from osqueue_service.state.settling import holder
from osqueue_service.state.state import State
from osqueue_service.state.submission import SubmitAnswers, check_joins, decide_submit


def decide_open(state: State, command: OpenBatch, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], OpenedBatch]:
    """One record; a repeated call becomes none and answers as it did."""
    call_print = blake2b(msgspec.msgpack.encode(command.spec), digest_size=16).digest()
    known = state.requests.get(command.request_id, now_ms) if command.request_id else None
    if known is not None:
        if known.fingerprint != call_print:
            raise IdempotencyConflict(
                f"request_id {command.request_id!r} was used within the last 10 minutes for another call: draw a new "
                "request_id for every new call"
            )
        return [], OpenedBatch(known.first, state.id_of_number(known.first))
    spec = command.spec
    batch = Batch(state.next_number, spec, now_ms, now_ms)
    _check_room(state, batch, limits)
    if spec.parent:
        check_joins(state, spec.parent, 1, limits, field="parent_batch_id")
        if _depth(state, spec.parent) >= limits.batch_depth:
            raise InvalidRequest.field(
                "parent_batch_id", f"is nested {limits.batch_depth} deep, and that is how deep batches may be"
            )
    called = command.request_id
    record = BatchOpened(
        batch.number, spec, called, limits.request_ttl_ms if called else 0, call_print if called else b""
    )
    return [record], OpenedBatch(batch.number, state.id_of_number(batch.number))


def decide_add(state: State, command: AddToBatch, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], SubmitAnswers]:
    """As a submission; the lease of a member is the right to add to a batch that is sealed."""
    job = holder(state, command.job_id, command.worker_id, command.token)
    batch = state.batches.of(job)
    if batch is None:
        raise InvalidRequest.field("job_id", f"job {command.job_id} is not a member of a batch")
    jobs = [in_batch(spec, batch.number) for spec in command.jobs]
    return decide_submit(state, Submit(jobs, True, command.request_id), now_ms, limits, joins=batch.number)


def decide_seal(state: State, command: SealBatch, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], None]:
    """Once."""
    batch = batch_numbered(state, command.number)
    return ([] if batch.sealed_at else [BatchesMoved([batch.number], BatchStep.SEALED)]), None


def decide_cancel(state: State, command: CancelBatch, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], int]:
    """The batches in it as well. Their members follow, as effects."""
    batch = batch_numbered(state, command.number)
    live = batch.live
    wanted = [
        number
        for number in state.batches.with_children(batch.number)
        if not (each := state.batches.by_number[number]).cancelled_at and not (each.sealed_at and not each.live)
    ]
    return ([BatchesMoved(wanted, BatchStep.CANCELLED, command.by)] if wanted else []), live


def decide_effects(state: State, limits: Limits, most: int) -> list[AnyRecord]:
    """What follows in batches, for at most `most` jobs; the rest is found again."""
    if state.batches.due:
        calls = [
            Call(number, callback, _called(state, state.batches.by_number[number], callback))
            for number in islice(state.batches.due, most)
            for callback in state.batches.by_number[number].calls()
        ]
        return [CalledBack(state.next_number, calls)]
    return _cancelling(state, limits, most) if state.batches.cancelling else []


def batch_numbered(state: State, number: int) -> Batch:
    """The batch; BATCH_NOT_FOUND says what it can mean that there is none."""
    batch = state.batches.by_number.get(number)
    if batch is None:
        raise BatchNotFound(NOT_FOUND.format(state.id_of_number(number)))
    return batch


def batch_of(state: State, batch_id: str) -> Batch:
    """The batch with this public id."""
    number = state.ids.number_of(batch_id)
    batch = state.batches.by_number.get(number) if number is not None else None
    if batch is None:
        raise BatchNotFound(NOT_FOUND.format(batch_id))
    return batch


def in_batch(spec: JobSpec, number: int) -> JobSpec:
    """The job as a member of this batch."""
    return replace(spec, more=replace(spec.more or MoreOfSpec(), batch=number))


def _called(state: State, batch: Batch, callback: Callback) -> JobSpec:
    spec = batch.spec_of(callback)
    assert spec is not None
    more = replace(spec.more or MoreOfSpec(), origin=Origin(batch.number, HOW[callback]))
    return state.limits.attach(replace(spec, more=more))


def _cancelling(state: State, limits: Limits, most: int) -> list[AnyRecord]:
    """The next members of a batch that was cancelled."""
    cancelling = state.batches.cancelling
    number, after = next(iter(cancelling.items()))
    waiting: list[int] = []
    asked: list[int] = []
    records: list[AnyRecord] = []
    for member in state.batches.members(number, after):
        if len(waiting) + len(asked) == most:
            break
        after = member
        job = state.jobs.get(member)
        if job is None or job.status.finished:
            continue
        if job.status is not IN_PROGRESS:
            waiting.append(member)
        elif not job.cancel_requested:
            asked.append(member)
    else:
        records.append(BatchesMoved([number], BatchStep.SWEPT))
    # Where to go on is not stored: a later leader looks at them all again, and finds these done.
    cancelling[number] = after
    if asked:
        records.insert(0, CancelRequested(asked))
    if waiting:
        records.insert(0, Cancelled(waiting, limits.default_retention_ms))
    return records


def _depth(state: State, number: int) -> int:
    depth = 0
    while number in state.batches.by_number:
        depth += 1
        number = state.batches.by_number[number].spec.parent
    return depth


def _check_room(state: State, batch: Batch, limits: Limits) -> None:
    """Whether there is room for it, and for what it will submit: that cannot be refused later."""
    if len(state.batches.by_number) >= limits.batches:
        raise QueueFull(
            f"{limits.batches:,} batches are kept, which is the limit (batches): wait until some have ended and their "
            "retention is over",
            retry_after_ms=1_000,
        )
    waiting = batch.waiting()
    if state.live + state.reserved_jobs + len(waiting) > limits.jobs:
        raise QueueFull(
            f"the queue holds {limits.jobs} live jobs, which is its limit (jobs), and has no room for what the batch "
            "is to submit: let workers catch up and try again",
            retry_after_ms=1_000,
        )
    if state.live_bytes + sum([spec.size for spec in waiting]) > limits.bytes:
        raise QueueFull(
            f"the live jobs would take more than {limits.bytes} bytes, which is the limit (bytes): let workers catch "
            "up and try again, or raise the limit",
            retry_after_ms=1_000,
        )

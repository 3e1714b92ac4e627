"""Deciding a claim: which waiting jobs the worker gets."""

from msgspec.structs import replace

from osqueue_service.limits import Limits
from osqueue_service.state.commands import Claim, Granted, Input
from osqueue_service.state.graphs import member_of
from osqueue_service.state.model import Job
from osqueue_service.state.records import AnyRecord, Claimed, Grant, Metered
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id
from osqueue_service.state.turns import Turns

# What a job takes in an answer beside its payload and metadata: id, type, token and numbers, generously.
_ENVELOPE_BYTES = 400


def decide_claim(state: State, command: Claim, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], list[Granted]]:
    """The first waiting jobs that fit; or, for a claim key whose leases live, those again."""
    if command.claim_key:
        held = state.claims.get((command.worker_id, command.claim_key))
        if held:
            return [], [_granted_again(state, state.jobs[number], limits) for number in held]
    grants: list[Grant] = []
    granted: list[Granted] = []
    room = command.max_bytes or limits.message_bytes
    most = min(command.max_jobs, len(command.tokens))
    if most <= 0:
        return [], []
    lines = state.lines
    in_turns = lines.fairness.levels or (lines.bound and lines.bound_among(command.types))
    turns = Turns(lines, command.types, now_ms) if in_turns else None
    for job in turns if turns is not None else lines.in_order(command.types):
        spec = job.spec
        room -= len(spec.payload) + _ENVELOPE_BYTES
        if spec.metadata or spec.more is not None:
            room -= spec.size - len(spec.payload)
        if spec.more is not None and spec.more.member is not None:
            room -= inputs_bytes(state, job, limits)
        if room < 0 and grants:
            break
        lease_ms = command.lease_ms or spec.lease_ms or limits.default_lease_ms
        token = command.tokens[len(grants)]
        grants.append(Grant(job.number, token, lease_ms))
        told = Granted(
            job_id=state.job_id(job),
            number=job.number,
            spec=spec,
            token=token,
            attempt=job.claims + 1,
            lease_ms=lease_ms,
            created_at=job.created_at,
            max_attempts=spec.max_attempts or limits.default_max_attempts,
        )
        granted.append(told if spec.more is None else _with_relatives(told, state, job, limits))
        if turns is not None:
            turns.choose(job)
        if len(grants) == most:
            break
    meters = turns.close() if turns is not None else []
    if not grants:
        return [], []
    records: list[AnyRecord] = [Claimed(command.worker_id, command.claim_key, grants)]
    if meters:
        records.append(Metered(meters))
    return records, granted


def _granted_again(state: State, job: Job, limits: Limits) -> Granted:
    lease = job.lease
    assert lease is not None, "the index of claims names a job without a lease"
    told = Granted(
        job_id=state.job_id(job),
        number=job.number,
        spec=job.spec,
        token=lease.token,
        attempt=lease.attempt,
        lease_ms=lease.lease_ms,
        created_at=job.created_at,
        max_attempts=job.spec.max_attempts or limits.default_max_attempts,
        cancel_requested=job.cancel_requested,
    )
    return _with_relatives(told, state, job, limits)


def _with_relatives(granted: Granted, state: State, job: Job, limits: Limits) -> Granted:
    """The same, with what its worker is told of other jobs."""
    more = job.spec.more
    if more is not None and more.origin is not None:
        granted = replace(granted, came_from=public_id(state, more.origin.number))
    if more is not None and more.member is not None:
        workflow_id = state.id_of_number(more.member.workflow)
        granted = replace(granted, workflow_id=workflow_id, inputs=inputs_of(state, job, limits))
    return granted


def inputs_of(state: State, job: Job, limits: Limits) -> tuple[Input, ...]:
    """How the jobs ended whose results are passed to it. What is too much together is left to be read."""
    member = member_of(job)
    room, found = limits.inputs_bytes, []
    for need in member.needs if member is not None else ():
        if not need.pass_result:
            continue
        parent = state.jobs.get(need.number)
        result = parent.result if parent is not None else None
        omitted = result is not None and len(result) > room
        if result is not None and not omitted:
            room -= len(result)
        status = parent.status if parent is not None else None
        job_id = public_id(state, need.number)
        found.append(Input(need.node, job_id, status, None if omitted else result, omitted))
    return tuple(found)


def inputs_bytes(state: State, job: Job, limits: Limits) -> int:
    """About what its inputs take in an answer."""
    return sum(_ENVELOPE_BYTES + len(each.result or b"") for each in inputs_of(state, job, limits))

"""Deciding a claim: which waiting jobs the worker gets."""

from osqueue_service.limits import Limits
from osqueue_service.state.commands import Claim, Granted
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
    turns = Turns(lines, command.types, now_ms) if lines.bound and lines.bound_among(command.types) else None
    for job in turns if turns is not None else lines.in_order(command.types):
        spec = job.spec
        room -= len(spec.payload) + _ENVELOPE_BYTES
        if spec.metadata or spec.more is not None:
            room -= spec.size - len(spec.payload)
        if room < 0 and grants:
            break
        lease_ms = command.lease_ms or spec.lease_ms or limits.default_lease_ms
        token = command.tokens[len(grants)]
        grants.append(Grant(job.number, token, lease_ms))
        granted.append(
            Granted(
                job_id=state.job_id(job),
                number=job.number,
                spec=spec,
                token=token,
                attempt=job.claims + 1,
                lease_ms=lease_ms,
                created_at=job.created_at,
                max_attempts=spec.max_attempts or limits.default_max_attempts,
                came_from=_came_from(state, job) if spec.more is not None else "",
            )
        )
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
    return Granted(
        job_id=state.job_id(job),
        number=job.number,
        spec=job.spec,
        token=lease.token,
        attempt=lease.attempt,
        lease_ms=lease.lease_ms,
        created_at=job.created_at,
        max_attempts=job.spec.max_attempts or limits.default_max_attempts,
        cancel_requested=job.cancel_requested,
        came_from=_came_from(state, job),
    )


def _came_from(state: State, job: Job) -> str:
    more = job.spec.more
    return public_id(state, more.origin.number) if more is not None and more.origin is not None else ""

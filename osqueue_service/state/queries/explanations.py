"""Why a job is not running."""

from collections.abc import Callable
from enum import Enum, auto
from itertools import islice
from typing import assert_never

from msgspec import Struct, field

from osqueue_service.state.blocking import Block, block_of
from osqueue_service.state.gates import Gate, Reason
from osqueue_service.state.graphs import member_of
from osqueue_service.state.limit_table import FULL, OPEN
from osqueue_service.state.model import Job, Status
from osqueue_service.state.needs import Member, Need, Policy
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id

COUNTED_MAX = 10_000
"""Jobs ahead are counted up to here; the queue may be a hundred times as long."""


BLOCKERS_SHOWN = 10
"""How many of the jobs that hold one up are named."""


class Why(Enum):
    """One reason; the API's ExplainReason has the same names."""

    NEXT = auto()
    DELAYED = auto()
    BACKING_OFF = auto()
    BEHIND = auto()
    TYPE_PAUSED = auto()
    NO_WORKER = auto()
    WORKERS_BUSY = auto()
    RUNNING = auto()
    CANCEL_REQUESTED = auto()
    FINISHED = auto()
    BLOCKED = auto()
    CONCURRENCY_LIMIT = auto()
    RATE_LIMIT = auto()
    UNIQUE_HELD = auto()
    SEQUENCE = auto()
    FAIR_TURN = auto()


class Serving(Struct, frozen=True):
    """The workers that take a type: how many there are, and whether all have as many jobs as they want."""

    workers: int
    all_busy: bool


class Explanation(Struct):
    """The reasons, the same in a sentence, and the figures that go with them; 0 and "" where they do not apply."""

    status: Status
    reasons: list[Why] = field(default_factory=list)
    message: str = ""
    error_type: str = ""
    error_message: str = ""
    jobs_ahead: int = 0
    workers: int = 0
    run_at: int = 0
    worker_id: str = ""
    finished_at: int = 0
    blocked_by: list[str] = field(default_factory=list)
    limits: "list[Blocking]" = field(default_factory=list)
    unique_key: str = ""
    fair_turn: "FairTurn | None" = None
    sequence_key: str = ""
    sequence_ahead: int = 0


class FairTurn(Struct, frozen=True):
    """Where the turn of a job's fairness key stands: the key, and how many have had fewer turns."""

    key: str
    keys_ahead: int


class Blocking(Struct, frozen=True):
    """A limit's key without room for the job. `opens_at` is when its rate has room; 0: one that runs has to end."""

    limit: str
    key: str
    running: int
    max_running: int
    opens_at: int


def explain(state: State, job: Job, serving: Callable[[str], Serving], now_ms: int | None = None) -> Explanation:
    """Why the job is where it is. `serving` tells of the workers that take a type, which no State knows;
    `now_ms` is queue time, or else that of the last commit."""
    now_ms = state.stamp_ms if now_ms is None else now_ms
    answer = Explanation(job.status)
    if job.history and job.history[-1].error_type:
        answer.error_type = job.history[-1].error_type
        answer.error_message = job.history[-1].error_message
    match job.status:
        case Status.UNCLAIMED:
            _waiting(state, job, serving(job.spec.type), answer, now_ms)
        case Status.SCHEDULED:
            _scheduled(state, job, answer)
        case Status.IN_PROGRESS:
            _running(job, answer)
        case Status.BLOCKED:
            _blocked(state, job, serving, answer)
        case Status.DEAD:
            last = job.history[-1] if job.history else None
            why = f": {last.error_type or last.ending.name.lower()}" if last else ""
            _finished(job, f"It is dead after {job.attempts} attempts{why}. Retry it, or purge it.", answer)
        case Status.CANCELLED:
            cut_by = job.more.cut_by if job.more is not None else 0
            why = f" because of the end of job {public_id(state, cut_by)}, which it needed" if cut_by else ""
            _finished(job, f"It was cancelled{why}.", answer)
        case Status.COMPLETED:
            _finished(job, "It is completed.", answer)
        case _:
            assert_never(job.status)
    return answer


def _blocked(state: State, job: Job, serving: Callable[[str], Serving], answer: Explanation) -> None:
    answer.reasons.append(Why.BLOCKED)
    answer.message = "It is blocked until other jobs have ended."
    block, member = block_of(state, job), member_of(job)
    if block is None:
        if member is not None:
            _needing(state, job, member, answer)
        return
    behind = state.job_id(block.behind)
    answer.blocked_by.append(behind)
    why, what = _shut(block)
    answer.reasons.insert(0, why)
    answer.message = f"It is blocked: {what}, {behind}, which is {block.behind.status.wire}."
    if block.reason is Reason.UNIQUE_HELD:
        answer.unique_key = block.key
        return
    answer.sequence_key = block.key
    answer.sequence_ahead = state.sequences.count_ahead(job, COUNTED_MAX)
    head = state.sequences.by_key[block.key].head
    if head is not None and head.status is Status.UNCLAIMED and not serving(head.spec.type).workers:
        answer.reasons.append(Why.NO_WORKER)
        taken = _type(head.spec.type)
        answer.message += f" No worker that takes {taken}, as {state.job_id(head)} at the head is, was heard of lately."


def _waiting(state: State, job: Job, serving: Serving, answer: Explanation, now_ms: int) -> None:
    name = job.spec.type
    said: list[str] = []
    gate = state.lines.gate_of(job)
    if gate is not None:
        why, what = _shut(gate)
        answer.reasons.append(why)
        said.append(what)
    _limited(state, job, answer, said, now_ms)
    answer.workers = serving.workers
    if not serving.workers:
        answer.reasons.append(Why.NO_WORKER)
        said.append(f"no worker that takes {_type(name)} was heard of in the last two minutes")
    elif serving.all_busy:
        answer.reasons.append(Why.WORKERS_BUSY)
        said.append(f"all {serving.workers} workers that take {_type(name)} are busy")
    _taking_turns(state, job, answer, said)
    ahead = _ahead(state, job)
    answer.jobs_ahead = ahead
    if ahead:
        answer.reasons.append(Why.BEHIND)
        many = f"{ahead}" if ahead < COUNTED_MAX else f"at least {ahead}"
        whose = "of its type" if answer.fair_turn is None else "of its type and its fairness key"
        said.append(f"{many} jobs {whose} are claimed before it")
    elif not answer.reasons:
        answer.reasons.append(Why.NEXT)
        said.append("it is the next to be claimed")
    answer.message = f"It waits: {'; '.join(said)}."


def _taking_turns(state: State, job: Job, answer: Explanation, said: list[str]) -> None:
    """Whose turn comes before that of its fairness key."""
    share = state.lines.share_of(job)
    if share is None:
        return
    others = islice(share.level.shares.values(), COUNTED_MAX)
    before = sum(1 for other in others if other.waiting and other.turns < share.turns)
    answer.fair_turn = FairTurn(share.key, before)
    if before:
        answer.reasons.append(Why.FAIR_TURN)
        many = f"{before}" if before < COUNTED_MAX else f"at least {before}"
        said.append(f"{many} other fairness keys have their turn before {share.key!r}")


def _limited(state: State, job: Job, answer: Explanation, said: list[str], now_ms: int) -> None:
    """All its limits are asked, not only the one whose key it was found to wait for."""
    for use in job.spec.limits:
        key = state.limits.known(use.limit, use.key)
        opens = key.opens(use.cost, now_ms) if key is not None else OPEN
        if key is None or opens == OPEN:
            continue
        where = f"the limit {use.limit!r}" + (f" for {use.key!r}" if use.key else "")
        full = opens == FULL
        why = Why.CONCURRENCY_LIMIT if full else Why.RATE_LIMIT
        if why not in answer.reasons:
            answer.reasons.append(why)
        answer.limits.append(Blocking(use.limit, use.key, key.running, key.max_running, 0 if full else opens))
        if full and not key.max_running:
            said.append(f"{where} lets none run")
        elif full:
            said.append(f"{key.running} of {key.max_running} that {where} lets run are running")
        else:
            said.append(f"{where} lets no more start for {opens - now_ms} ms")


def _shut(gate: Gate | Block) -> tuple[Why, str]:
    """What a gate is called in the API, and in a sentence."""
    match gate.reason:
        case Reason.PAUSED:
            return Why.TYPE_PAUSED, f"its type {gate.key!r} is paused"
        case Reason.LIMIT:
            raise AssertionError("limits are asked themselves")
        case Reason.UNIQUE_HELD:
            return Why.UNIQUE_HELD, f"it takes over the unique key {gate.key!r} when its holder has ended"
        case Reason.SEQUENCE:
            return Why.SEQUENCE, f"in the sequence {gate.key!r} it comes after the job"
        case _:
            assert_never(gate.reason)


def _ahead(state: State, job: Job) -> int:
    """Jobs of its type that would be claimed before it, counted up to a limit; where fairness keys have turns, those of
    its key with the same limits."""
    if state.lines.share_of(job) is not None:
        node, count = job.ready_node, 0
        while node is not None and node.before is not None and count < COUNTED_MAX:
            node, count = node.before, count + 1
        return count
    for count, other in enumerate(islice(state.lines.of_type(job.spec.type), COUNTED_MAX)):
        if other is job:
            return count
    return COUNTED_MAX


def _needing(state: State, job: Job, member: Member, answer: Explanation) -> None:
    """By which jobs, how they stand, and what would let this one go on."""
    waits = [need for need in member.needs if _holds_up(state, need)]
    if not waits:
        return
    answer.blocked_by = [public_id(state, need.number) for need in waits[:BLOCKERS_SHOWN]]
    said = [f"{need.node!r} is {state.jobs[need.number].status.wire}" for need in waits[:BLOCKERS_SHOWN]]
    more = f", and {len(waits) - BLOCKERS_SHOWN} more" if len(waits) > BLOCKERS_SHOWN else ""
    answer.message = f"It waits for {len(waits)} of its workflow's jobs: {', '.join(said)}{more}."
    if held := [need.node for need in waits if state.jobs[need.number].status.finished]:
        answer.message += f" {held[0]!r} will not end otherwise: retry it, or purge it."


def _holds_up(state: State, need: Need) -> bool:
    parent = state.jobs.get(need.number)
    if parent is None or parent.status is Status.COMPLETED:
        return False
    policy = {Status.DEAD: need.if_dead, Status.CANCELLED: need.if_cancelled}.get(parent.status, Policy.HOLD)
    return policy is Policy.HOLD


def _scheduled(state: State, job: Job, answer: Explanation) -> None:
    answer.run_at = job.due_at
    if job.claims:
        answer.reasons.append(Why.BACKING_OFF)
        answer.message = f"Attempt {job.claims} failed; the next one is due at run_at."
    else:
        answer.reasons.append(Why.DELAYED)
        answer.message = "It was submitted to run later, at run_at."
    gate = state.lines.gate_of(job)
    if gate is not None:
        why, what = _shut(gate)
        answer.reasons.append(why)
        answer.message += f" {what[0].upper()}{what[1:]}, so it will wait even then."


def _running(job: Job, answer: Explanation) -> None:
    lease = job.lease
    assert lease is not None
    answer.worker_id = lease.worker_id
    answer.reasons.append(Why.RUNNING)
    answer.message = f"It is running: worker {lease.worker_id!r} holds attempt {lease.attempt}."
    if job.cancel_requested:
        answer.reasons.append(Why.CANCEL_REQUESTED)
        answer.message += " Its worker was asked to stop."


def _finished(job: Job, message: str, answer: Explanation) -> None:
    answer.reasons.append(Why.FINISHED)
    answer.finished_at = job.finished_at
    answer.message = message


def _type(name: str) -> str:
    return f"the type {name!r}" if name else "jobs without a type"

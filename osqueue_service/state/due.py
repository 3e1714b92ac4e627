"""What is due without anybody asking: one row for each kind, which says when it is next due and what happens then.

A new kind of thing that comes due is one more row; the sweep, the alarm that is set for it and
the check that a sweep does something go by this table. Every row decides on the state as it
was before the sweep, and a bounded number at a time, so that a million jobs that come due in
the same second are handled over many commits.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import islice

from msgspec import Struct, structs

from osqueue_service.limits import Limits
from osqueue_service.state.batches import BatchStep
from osqueue_service.state.commands import Sweep
from osqueue_service.state.firing import Round
from osqueue_service.state.index import Deadlines
from osqueue_service.state.limiting import Newest
from osqueue_service.state.model import Ending, Job
from osqueue_service.state.named_limits import AtLimit
from osqueue_service.state.records import (
    AnyRecord,
    AttemptEnd,
    AttemptsEnded,
    BatchesMoved,
    Cancelled,
    Evicted,
    Fired,
    Forgotten,
    Metered,
    OverridesEnded,
    Promoted,
    UniqueKeysFreed,
)
from osqueue_service.state.retrying import attempts_kept, next_step
from osqueue_service.state.state import State

# Expiry and timeout say in the job's history what a worker's error would have said.
_EXPIRED = "no heartbeat arrived before the lease ended"
_TIMED_OUT = "the attempt ran longer than its timeout_ms"

LET_GO = 8
"""Letting something go costs a fraction of what it took to get there, so this many times more may go in one sweep:
what finishes in a commit can leave in the next, and a cap is held under any load."""


class Urgency(Enum):
    """How long what is due may wait for a commit that happens anyway."""

    AT_ONCE = "at once"
    A_WHILE = "a while"
    """Letting go of what nobody needs any more: an idle queue does not pay for storage writes to forget things."""


class Sweeping:
    """One sweep: what its rows decide by."""

    def __init__(self, state: State, command: Sweep, now_ms: int, limits: Limits) -> None:
        self.state = state
        self.command = command
        self.now_ms = now_ms
        self.limits = limits
        self.let_go = command.limit * LET_GO
        """How many of a kind may be let go."""
        self.jitters: Iterator[float] = iter(command.jitters)
        self.next_number = state.next_number
        """The next number that no record of this sweep has taken."""
        self.wall_ms = now_ms if command.wall_ms is None else command.wall_ms
        self.ended: set[int] = set()
        """Jobs whose attempt ends in this sweep: each ends once, whatever else is due for it."""


class Row(Struct, frozen=True):
    """One kind of thing that comes due.

    `next_ms` is the queue time at which it is next due. `over` says whether more is kept than its cap, which is put
    right with the next commit. `forgets`: it removes what a checkpoint that is being written has yet to read.
    `by_wall`: what people set by their clocks is due only when the wall clock has reached it, too.
    """

    name: str
    urgency: Urgency
    next_ms: Callable[[State], int | None]
    decide: Callable[[Sweeping], AnyRecord | list[AnyRecord] | None]
    over: Callable[[State, Limits], bool] = lambda state, limits: False
    forgets: bool = False
    by_wall: bool = False


def _timed_out(sweep: Sweeping) -> AnyRecord | None:
    """Before the leases: an attempt that ran too long ended by that, even if its lease is over too."""
    state = sweep.state
    numbers = islice(state.timeouts.due(sweep.now_ms), sweep.command.limit)
    return _ended(sweep, [state.jobs[number] for number in numbers], Ending.TIMED_OUT)


def _expired(sweep: Sweeping) -> AnyRecord | None:
    jobs = []
    for number, token in sweep.command.expired:
        job = sweep.state.jobs.get(number)
        # The lease may have ended since its expiry was noticed: the token decides.
        if job is not None and job.lease is not None and job.lease.token == token and number not in sweep.ended:
            jobs.append(job)
    return _ended(sweep, jobs, Ending.EXPIRED)


def _ended(sweep: Sweeping, jobs: list[Job], ending: Ending) -> AnyRecord | None:
    limits = sweep.limits
    ends: dict[int, AttemptEnd] = {}
    for job in jobs:
        message = _EXPIRED if ending is Ending.EXPIRED else _TIMED_OUT
        # Expiry requeues at once: its wait was the lease. A timeout is the job's doing and backs off like a failure.
        delay_ms = 0 if ending is Ending.EXPIRED else -1
        status, next_at = next_step(job, sweep.now_ms, limits, next(sweep.jitters, 0.5), delay_ms=delay_ms)
        ends[job.number] = AttemptEnd(job.number, ending, status, next_at, ending.name, message)
    sweep.ended.update(ends)
    if not ends:
        return None
    kept = attempts_kept(sweep.state, limits)
    return AttemptsEnded(list(ends.values()), limits.default_retention_ms, limits.dead_retention_ms, kept)


def _promoted(sweep: Sweeping) -> list[AnyRecord]:
    """Delayed jobs whose time has come; those for which a limit has no room may have to go instead."""
    gone = _newest(sweep)
    due = islice(sweep.state.scheduled.due(sweep.now_ms), sweep.command.limit)
    numbers = [number for number in due if number not in gone] if gone else list(due)
    records: list[AnyRecord] = []
    if gone:
        records.append(Cancelled(gone, sweep.limits.default_retention_ms))
    if numbers:
        records.append(Promoted(sweep.next_number, numbers))
        sweep.next_number += len(numbers)
    return records


def _newest(sweep: Sweeping) -> list[int]:
    """Jobs that are due for the first time, and whose limit has no room and cancels those."""
    state = sweep.state
    if not any(limit.at_limit is AtLimit.CANCEL_NEWEST for limit in state.limits.defined()):
        return []
    newest = Newest(state, sweep.now_ms)
    due = (state.jobs[number] for number in islice(state.scheduled.due(sweep.now_ms), sweep.command.limit))
    return [job.number for job in due if not job.claims and job.spec.limits and newest.has_to_go(job.spec)]


def _fired(sweep: Sweeping) -> list[AnyRecord]:
    """Times of schedules. One schedule may have many at once; then fewer schedules have their turn."""
    schedules, now_ms, limit = sweep.state.schedules, min(sweep.now_ms, sweep.wall_ms), sweep.command.limit
    round = Round(sweep.state, now_ms, sweep.limits, first=sweep.next_number, ended=sweep.ended)
    for number in islice(schedules.due.due(now_ms), limit):
        schedule = schedules.numbered(number)
        assert schedule is not None
        round.decide(schedule)
        if round.size >= 2 * limit:
            break
    else:
        decided = round.planned
        for number in islice(schedules.outdated(), limit):
            schedule = schedules.numbered(number)
            assert schedule is not None
            if number not in decided:
                round.replan(schedule)
    return round.records()


def _promises(sweep: Sweeping) -> AnyRecord | None:
    """Jobs that were promised a retention leave when it is over. Only what memory bears comes before the promise: then
    those that would leave next do."""
    state = sweep.state
    excess = state.promised_bytes - sweep.limits.kept_promises_bytes
    return _evicted(sweep, _evictable(sweep, state.promised_retention, 0, excess))


def _finished(sweep: Sweeping) -> AnyRecord | None:
    state, limits = sweep.state, sweep.limits
    surplus, excess = len(state.retention) - limits.finished_jobs, state.finished_bytes - limits.finished_bytes
    return _evicted(sweep, _evictable(sweep, state.retention, surplus, excess))


def _dead(sweep: Sweeping) -> AnyRecord | None:
    state, limits = sweep.state, sweep.limits
    surplus, excess = len(state.dead_retention) - limits.dead_jobs, state.dead_bytes - limits.dead_bytes
    return _evicted(sweep, _evictable(sweep, state.dead_retention, surplus, excess))


def _evictable(sweep: Sweeping, retention: Deadlines, surplus: int, excess: int) -> list[int]:
    """Finished jobs past their retention, then the oldest of those above the caps."""
    limit = sweep.let_go
    due = set(islice(retention.due(sweep.now_ms), limit))
    numbers = []
    for number in islice(retention, limit):
        if number not in due and surplus <= 0 and excess <= 0:
            break
        numbers.append(number)
        surplus -= 1
        excess -= sweep.state.jobs[number].size
    return numbers


def _evicted(sweep: Sweeping, numbers: list[int]) -> AnyRecord | None:
    return Evicted(numbers, sweep.limits.settled_ttl_ms) if numbers else None


def _keys(sweep: Sweeping) -> AnyRecord | None:
    keys = sweep.state.keys.expired(sweep.now_ms, sweep.let_go, sweep.limits.idempotency_keys)
    return Forgotten(keys, [], []) if keys else None


def _requests(sweep: Sweeping) -> AnyRecord | None:
    requests = sweep.state.requests.expired(sweep.now_ms, sweep.let_go, sweep.limits.request_ids)
    return Forgotten([], requests, []) if requests else None


def _tokens(sweep: Sweeping) -> AnyRecord | None:
    tokens = sweep.state.settled.expired(sweep.now_ms, sweep.let_go, sweep.limits.settled_tokens)
    return Forgotten([], [], tokens) if tokens else None


def _overrides(sweep: Sweeping) -> AnyRecord | None:
    keys = sweep.state.limits.expired(sweep.now_ms, sweep.command.limit)
    return OverridesEnded(keys) if keys else None


def _meters(sweep: Sweeping) -> AnyRecord | None:
    meters = sweep.state.limits.lapsed(sweep.now_ms, sweep.let_go)
    return Metered(meters) if meters else None


def _unique_keys(sweep: Sweeping) -> AnyRecord | None:
    names = sweep.state.uniques.expired(sweep.now_ms, sweep.let_go)
    return UniqueKeysFreed(names) if names else None


def _sealed(sweep: Sweeping) -> AnyRecord | None:
    """Batches that nothing was added to for as long as they said."""
    numbers = list(islice(sweep.state.batches.idle.due(sweep.now_ms), sweep.command.limit))
    return BatchesMoved(numbers, BatchStep.SEALED) if numbers else None


def _forgotten(sweep: Sweeping) -> AnyRecord | None:
    """Batches that ended long ago."""
    numbers = list(islice(sweep.state.batches.kept.due(sweep.now_ms), sweep.let_go))
    return BatchesMoved(numbers, BatchStep.FORGOTTEN) if numbers else None


def _finished_over(state: State, limits: Limits) -> bool:
    return len(state.retention) > limits.finished_jobs or state.finished_bytes > limits.finished_bytes


def _dead_over(state: State, limits: Limits) -> bool:
    return len(state.dead_retention) > limits.dead_jobs or state.dead_bytes > limits.dead_bytes


LEASES = Row("leases", Urgency.AT_ONCE, lambda state: None, _expired)
"""When a lease ends is not in the state: heartbeats move that moment without a commit. The leader that sweeps knows it,
and names the leases that are over in its command."""

ROWS = (
    Row("timeouts", Urgency.AT_ONCE, lambda state: state.timeouts.next_ms(), _timed_out),
    LEASES,
    Row("delayed", Urgency.AT_ONCE, lambda state: state.scheduled.next_ms(), _promoted),
    Row("overrides of limits", Urgency.AT_ONCE, lambda state: state.limits.next_expiry_ms(), _overrides),
    Row("meters of limits", Urgency.A_WHILE, lambda state: state.limits.next_lapse_ms(), _meters),
    # After those that give numbers away and those that end attempts: a schedule looks at its last job.
    Row("schedules", Urgency.AT_ONCE, lambda state: state.schedules.next_ms(), _fired, by_wall=True),
    # Decided once the rest of the sweep is applied, like every effect; what no commit had room for so far.
    Row("dependents", Urgency.AT_ONCE, lambda state: 0 if state.graphs.fates else None, lambda sweep: None),
    Row(
        "batches",
        Urgency.AT_ONCE,
        lambda state: 0 if state.batches.due or state.batches.cancelling else None,
        lambda sweep: None,
    ),
    Row("idle batches", Urgency.AT_ONCE, lambda state: state.batches.idle.next_ms(), _sealed),
    Row("kept batches", Urgency.A_WHILE, lambda state: state.batches.kept.next_ms(), _forgotten),
    Row(
        "promised retention",
        Urgency.A_WHILE,
        lambda state: state.promised_retention.next_ms(),
        _promises,
        lambda state, limits: state.promised_bytes > limits.kept_promises_bytes,
    ),
    Row("retention", Urgency.A_WHILE, lambda state: state.retention.next_ms(), _finished, _finished_over),
    Row("dead retention", Urgency.A_WHILE, lambda state: state.dead_retention.next_ms(), _dead, _dead_over),
    Row("idempotency keys", Urgency.A_WHILE, lambda state: state.keys.next_expiry_ms(), _keys, forgets=True),
    Row(
        "request ids",
        Urgency.A_WHILE,
        lambda state: state.requests.next_expiry_ms(),
        _requests,
        lambda state, limits: len(state.requests) > limits.request_ids,
        forgets=True,
    ),
    Row(
        "settled tokens",
        Urgency.A_WHILE,
        lambda state: state.settled.next_expiry_ms(),
        _tokens,
        lambda state, limits: len(state.settled) > limits.settled_tokens,
        forgets=True,
    ),
    Row("unique keys", Urgency.A_WHILE, lambda state: state.uniques.next_expiry_ms(), _unique_keys),
)


def decide_sweep(state: State, command: Sweep, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], None]:
    """What is due, as one record of each row that has something."""
    sweep = Sweeping(state, command, now_ms, limits)
    rows = [row for row in ROWS if command.forget or not row.forgets]
    records: list[AnyRecord] = []
    for row in rows:
        decided = row.decide(sweep)
        if isinstance(decided, list):
            records += decided
        elif decided is not None:
            records.append(decided)
    # First those that name numbers: where jobs end, others may be let go, and take numbers that nobody decided on.
    records.sort(key=lambda record: not isinstance(record, Promoted | Fired))
    return _cancelled_once(records), None


def _cancelled_once(records: list[AnyRecord]) -> list[AnyRecord]:
    """A job's limit and its schedule may both want it cancelled, and neither row knows of the other."""
    if sum(isinstance(record, Cancelled) for record in records) < 2:
        return records
    seen: set[int] = set()
    kept: list[AnyRecord] = []
    for record in records:
        if isinstance(record, Cancelled):
            record = structs.replace(record, numbers=[number for number in record.numbers if number not in seen])
            seen.update(record.numbers)
            if not record.numbers:
                continue
        kept.append(record)
    return kept


class Outlook(Struct, gc=False):
    """What the table says of the state as it is: it holds until the next commit."""

    moments: list[tuple[int, Row]] = []
    """When each row is next due, in queue time; without those that never are."""
    at_once: int | None = None
    """The first moment of what is due at once."""
    in_a_while: int | None = None
    """The first moment of what can wait for a commit that happens anyway."""
    by_wall: int | None = None
    """The first moment of what goes by the wall clock as well."""
    over: bool = False
    """More is kept than some cap."""
    far_over: bool = False
    """So much more that the next commit is not waited for."""


def look(state: State, limits: Limits, pressing: Limits, *, forget: bool) -> Outlook:
    """Ask each row once. `pressing`: the caps above which a sweep does not wait, each at least that of `limits`.
    `forget`: keys may be forgotten."""
    outlook = Outlook()
    for row in ROWS:
        if row.forgets and not forget:
            continue
        at_ms = row.next_ms(state)
        if at_ms is not None:
            outlook.moments.append((at_ms, row))
            if row.by_wall:
                outlook.by_wall = at_ms if outlook.by_wall is None else min(outlook.by_wall, at_ms)
            elif row.urgency is Urgency.AT_ONCE:
                outlook.at_once = at_ms if outlook.at_once is None else min(outlook.at_once, at_ms)
            else:
                outlook.in_a_while = at_ms if outlook.in_a_while is None else min(outlook.in_a_while, at_ms)
        if row.over(state, limits):
            outlook.over = True
            outlook.far_over = outlook.far_over or row.over(state, pressing)
    return outlook

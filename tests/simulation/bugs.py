"""Bugs planted on purpose: each is a rule forgotten, and the simulation must notice within 200 seeds.

They are planted from here, around the product's own functions; the product knows nothing
of them. A name that is no longer there fails loudly.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any
from unittest import mock

from msgspec.structs import replace

from osqueue_service.engine import pipeline
from osqueue_service.engine.checkpointing import Checkpointer
from osqueue_service.engine.heartbeats import Heartbeats
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.pipeline import Pipeline, give
from osqueue_service.engine.waiting import FinishWaiters
from osqueue_service.engine.workers import WorkerTable
from osqueue_service.errors import Deposed, NotLeader, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.leadership.term import Term
from osqueue_service.log.appender import Appender
from osqueue_service.log.checkpoints import CheckpointWriter
from osqueue_service.log.cleanup import Cleanup
from osqueue_service.log.root import Root, decode_root
from osqueue_service.log.settle import Settled, Settler
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service import watches
from osqueue_service.rpc.queue_service.work_session import WorkSession
from osqueue_service.state import apply, blocking, features, firing, settling, uniques
from osqueue_service.state import due as state_due
from osqueue_service.state.image import Kind, Loader, Snapshot
from osqueue_service.state.limit_table import LimitKey, LimitTable
from osqueue_service.state.model import Status
from osqueue_service.state.moves import Cause, Moves
from osqueue_service.state.sequences import Sequences
from osqueue_service.state.turns import Turns
from osqueue_service.storage.operations import Operation
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.simulation.store import ROOT, SimStore

Plant = Callable[[Callable[[Any, str, Any], None]], None]

BUGS: dict[str, Plant] = {}


def planted(name: str) -> ExitStack:
    """The product with this bug, while the context lasts."""
    stack = ExitStack()
    BUGS[name](lambda owner, attribute, value: _patch(stack, owner, attribute, value))
    return stack


def _patch(stack: ExitStack, owner: Any, attribute: str, value: Any) -> None:
    assert hasattr(owner, attribute), f"{owner} has no {attribute} any more"
    stack.enter_context(mock.patch.object(owner, attribute, value))


def bug(name: str) -> Callable[[Plant], Plant]:
    def register(plant: Plant) -> Plant:
        BUGS[name] = plant
        return plant

    return register


# --- commits ---------------------------------------------------------------------------------------------------------


@bug("acknowledge early")
def _acknowledge_early(patch: Any) -> None:
    push = Pipeline.push

    def early(self: Pipeline, commit: Any, durable: Any) -> None:
        push(self, commit, durable)
        for reply in commit.replies:
            give(reply)

    patch(Pipeline, "push", early)


@bug("answers out of order")
def _out_of_order(patch: Any) -> None:
    def release(self: Any) -> None:
        for flight in [flight for flight in self._flights if flight.landed]:
            self._flights.remove(flight)
            if flight.after.sequence > self.released.sequence:
                self.released = flight.after
            if not flight.answer.done():
                flight.answer.set_result(flight.after.sequence)
        self._wake()

    def settled(self: Any, durable: Any) -> None:
        if durable.cancelled() or durable.exception() is not None:
            return
        for commit in [commit for commit in self._commits if commit.sequence == durable.result()]:
            self._commits.remove(commit)
            self._on_release(commit)
            for reply in commit.replies:
                give(reply)

    patch(Appender, "_release", release)
    patch(Pipeline, "_settled", settled)


async def _send(settler: Settler, key: str, body: bytes) -> bool:
    """Put until the store says yes or no; whether it said yes."""
    backoff = settler.backoff()
    while True:
        try:
            await settler.store.put_if_absent(key, body)
        except StoreRefused:
            return False
        except (StoreUnavailable, StoreUnknown):
            await backoff.pause()
        else:
            return True


@bug("412 taken for success")
def _refused_is_success(patch: Any) -> None:
    async def put(self: Settler, key: str, body: bytes) -> Settled:
        await _send(self, key, body)
        return Settled(None, 1)

    patch(Settler, "put", put)


@bug("412 taken for lost")
def _refused_is_lost(patch: Any) -> None:
    async def put(self: Settler, key: str, body: bytes) -> Settled:
        return Settled(None if await _send(self, key, body) else b"another's", 1)

    patch(Settler, "put", put)
    patch(Appender, "_verdict", lambda self, flight, found: Deposed("refused", epoch=self.epoch + 1))
    patch(pipeline, "lost_answer", lambda changes, leader: NotLeader("not applied"))


@bug("a deposed leader's waiters told refused")
def _told_refused(patch: Any) -> None:
    patch(pipeline, "lost_answer", lambda changes, leader: NotLeader("not applied"))


# --- leadership ------------------------------------------------------------------------------------------------------


@bug("no fence")
def _no_fence(patch: Any) -> None:
    put = Settler.put

    async def unfenced(self: Settler, key: str, body: bytes) -> Settled:
        if key.startswith("log/") and body[5] == 2:
            return Settled(None, 1)
        return await put(self, key, body)

    patch(Settler, "put", unfenced)


@bug("root renewed without version check")
def _unchecked_renewal(patch: Any) -> None:
    replace = SimStore.put_if_version

    async def put_if_version(self: SimStore, key: str, body: bytes, version: str) -> str:
        root = decode_root(body)
        if key == ROOT and isinstance(root, Root):
            if getattr(self, "incarnation", "") == root.incarnation:
                new: str = await self._request(Operation.PUT_IF_VERSION, key, lambda: self.bucket.overwrite(key, body))
                return new
            self.incarnation = root.incarnation  # type: ignore[attr-defined]
        return await replace(self, key, body, version)

    patch(SimStore, "put_if_version", put_if_version)


@bug("ungated feature")
def _ungated(patch: Any) -> None:
    async def switch_on(self: Term, wanted: Any) -> None:
        """The stored data uses it, and the root does not say so."""

    patch(Term, "switch_on", switch_on)
    # What a leader checks by, which is a tuple; a reader knows what it knows all the same.
    missing = features.missing
    patch(features, "missing", lambda records, known: [] if isinstance(known, tuple) else missing(records, known))


@bug("local reads called linearizable")
def _unconfirmed_reads(patch: Any) -> None:
    async def confirm(self: Term) -> None:
        return None

    patch(Term, "confirm", confirm)


# --- checkpoints and clean-up ----------------------------------------------------------------------------------------


@bug("fences deleted")
def _fences_deleted(patch: Any) -> None:
    patch(Cleanup, "_delete_unless_fence", Cleanup._delete)


@bug("pointer before object")
def _pointer_first(patch: Any) -> None:
    put_part = CheckpointWriter._put_part

    class Later:
        """Puts in the background, and says that it is done."""

        def __init__(self, settler: Settler) -> None:
            self.clock = settler.clock
            self._settler = settler

        async def put(self, key: str, body: bytes) -> Settled:
            asyncio.get_running_loop().create_task(self._settler.put(key, body))
            return Settled(None, 1)

    async def part(self: Any) -> None:
        if isinstance(self._settler, Settler):
            self._settler = Later(self._settler)
        await put_part(self)

    patch(CheckpointWriter, "_put_part", part)


@bug("clean-up before the swap")
def _clean_first(patch: Any) -> None:
    publish = Term._publish

    async def early(self: Any, position: Any, *rest: Any) -> None:
        await self._cleanup.run(position.sequence, self._held.root.checkpoint)
        await publish(self, position, *rest)

    patch(Term, "_publish", early)


@bug("clean-up after being deposed")
def _clean_deposed(patch: Any) -> None:
    publish = Term._publish

    async def unconfirmed(self: Any, *rest: Any) -> None:
        with suppress(Deposed, NotLeader):
            await publish(self, *rest)

    patch(Term, "_publish", unconfirmed)
    patch(Checkpointer, "abandon", lambda self: None)


@bug("idempotency forgotten at a checkpoint")
def _keys_forgotten(patch: Any) -> None:
    begin = Snapshot.__init__

    def without_keys(self: Any, state: Any) -> None:
        begin(self, state)
        self._memories = [(kind, slices) for kind, slices in self._memories if kind is Kind.SETTLED]

    patch(Snapshot, "__init__", without_keys)


# --- streams ---------------------------------------------------------------------------------------------------------


@bug("receipts before they are durable")
def _early_receipts(patch: Any) -> None:
    async def settle(self: WorkSession, changing: Any, items: Any) -> None:
        for item in items:
            self._message.receipts.add(job_id=item.job_id, lease_token=item.token, status="completed")
        self._message.commit.CopyFrom(commit_position(self._engine))
        self._arrived.set()
        asyncio.get_running_loop().create_task(changing).add_done_callback(_ignored)

    patch(WorkSession, "_settle", settle)


def _ignored(task: Any) -> None:
    if not task.cancelled():
        task.exception()


@bug("a resumed token not checked")
def _resumed_unchecked(patch: Any) -> None:
    def renewed(self: WorkSession, renewal: Any) -> Any:
        return queue_pb2.LeaseState(job_id=renewal.job_id, lease_token=renewal.token, live=True)

    patch(WorkSession, "_renewed", renewed)


@bug("an old token frees the slot of a new lease")
def _old_token_frees(patch: Any) -> None:
    let_go = WorkSession._let_go
    patch(WorkSession, "_let_go", lambda self, job_id, token: let_go(self, job_id, ""))


@bug("a watch begins before what is under way")
def _early_watch(patch: Any) -> None:
    patch(watches, "view_position", watches.durable_position)


# --- followers -------------------------------------------------------------------------------------------------------


def _without(follower: type, method: str, forgotten: Callable[[Moves], bool]) -> Callable[..., Any]:
    """The follower's method as it is, but deaf to some moves."""
    follow = getattr(follower, method)

    def deaf(self: Any, moves: Any, *rest: Any) -> Any:
        return follow(self, [move for move in moves if not forgotten(move)], *rest)

    return deaf


@bug("forgotten move: waiting callers")
def _waiters_forgotten(patch: Any) -> None:
    deaf = _without(FinishWaiters, "finished_by", lambda move: move.target is Status.CANCELLED)
    patch(FinishWaiters, "finished_by", deaf)


@bug("forgotten move: leases")
def _leases_forgotten(patch: Any) -> None:
    patch(LeaseTable, "follow", _without(LeaseTable, "follow", lambda move: move.cause is Cause.RELEASED))


@bug("forgotten move: workers")
def _holders_forgotten(patch: Any) -> None:
    patch(WorkerTable, "follow", _without(WorkerTable, "follow", lambda move: move.cause is Cause.TIMED_OUT))


@bug("an attempt's time moves, and what is due is not asked again")
def _due_not_asked(patch: Any) -> None:
    renew = Heartbeats.renew

    def deaf(heartbeats: Heartbeats, *said: Any, **more: Any) -> Any:
        heartbeats._due_moved = lambda: None
        return renew(heartbeats, *said, **more)

    patch(Heartbeats, "renew", deaf)


@bug("due row forgotten")
def _row_forgotten(patch: Any) -> None:
    """Jobs whose time has come wait for ever: their row is neither asked nor swept."""
    rows = tuple(row for row in state_due.ROWS if row.name != "delayed")
    patch(state_due, "ROWS", rows)


@bug("due row without effect")
def _row_without_effect(patch: Any) -> None:
    """What is due is noticed, and nothing comes of it: the term must end, not spin."""
    idle = tuple(replace(row, decide=lambda sweep: None) if row is state_due.LEASES else row for row in state_due.ROWS)
    patch(state_due, "ROWS", idle)


# --- the core --------------------------------------------------------------------------------------------------------


@bug("a time fires twice")
def _time_twice(patch: Any) -> None:
    """The cursor of a schedule stays where it is, now and then."""
    plan_after = firing.plan_after

    def stay(schedule_id: str, spec: Any, at_ms: int, fired: int) -> Any:
        plan = plan_after(schedule_id, spec, at_ms, fired)
        return replace(plan, next_at=at_ms, due_at=at_ms + 200) if fired % 3 == 2 else plan

    patch(firing, "plan_after", stay)


@bug("a time is lost at a takeover")
def _time_lost(patch: Any) -> None:
    """A new leader plans from now on, as one does that keeps the cursor in its memory."""
    load = Loader.load

    def forget(self: Loader, part: bytes) -> None:
        load(self, part)
        schedules = self._state.schedules
        for schedule in list(schedules.by_id.values()):
            plan = schedule.plan
            if plan.next_at and schedule.spec.every_ms:
                late = replace(plan, next_at=plan.next_at + schedule.spec.every_ms, due_at=0)
                schedules.file(replace(schedule, plan=replace(late, due_at=late.next_at)), waits=True)

    patch(Loader, "load", forget)


@bug("token ignored")
def _token_ignored(patch: Any) -> None:
    patch(settling, "_proves", lambda *_: True)


@bug("dead letter dropped")
def _dead_dropped(patch: Any) -> None:
    finish = apply.finish

    def drop(state: Any, job: Any, status: Status, *rest: Any) -> None:
        if status is not Status.DEAD:
            finish(state, job, status, *rest)
            return
        state.live_bytes -= job.spec.size
        del state.jobs[job.number]
        if job.spec.retention_ms:
            state.promised_jobs -= 1

    patch(apply, "finish", drop)


# --- jobs that wait for others ---------------------------------------------------------------------------------------


@bug("two jobs of one unique key")
def _two_holders(patch: Any) -> None:
    holds = uniques.holds
    patch(uniques, "holds", lambda job: holds(job) and job.status is not Status.IN_PROGRESS)


@bug("a successor never let go")
def _never_let_go(patch: Any) -> None:
    patch(blocking, "let_go", lambda state, at_ms: state.opened.clear())


@bug("a sequence overtaken")
def _overtaken(patch: Any) -> None:
    """Everybody is at the head."""
    enter = Sequences.enter

    def first(self: Sequences, job: Any) -> None:
        sequence = self.by_key.get(job.spec.sequence.key)
        if sequence is not None and sequence.head is not None and job.status is not Status.BLOCKED:
            sequence.head = None
        enter(self, job)

    patch(Sequences, "enter", first)
    patch(blocking, "block_new", lambda state, job: None)


# --- limits ----------------------------------------------------------------------------------------------------------


@bug("a slot that nobody takes")
def _no_slot(patch: Any) -> None:
    opens = LimitKey.opens
    patch(
        LimitKey,
        "opens",
        lambda self, cost, now_ms, running=0, arrival_ns=0: opens(self, cost, now_ms, -self.running, arrival_ns),
    )


@bug("a rate begun anew by each leader")
def _rate_begun_anew(patch: Any) -> None:
    """The meters of rates are written down nowhere."""
    patch(Turns, "close", lambda self: (self._park() and None) or self._walk.close() or [])


@bug("room that nobody is told of")
def _no_wake(patch: Any) -> None:
    """Lines that wait for a key stay where they are when a slot is free again."""
    patch(LimitTable, "run", _run_without_telling)


def _run_without_telling(self: LimitTable, uses: Any, sign: int) -> None:
    for use in uses:
        key = self.of(use)
        key.running += sign * use.cost
        key.family.running += sign * use.cost
        key.family.used += sign
        if sign < 0:
            self._let_go(key)

"""One Work stream: a worker's slots, what it holds, and what is to be told to it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.notices import Notice
from osqueue_service.engine.workers import Lane, Worker
from osqueue_service.errors import NotLeader, OsqueueError
from osqueue_service.ids import IdSource
from osqueue_service.rpc.fields import Violations
from osqueue_service.rpc.job_info import fill_claimed
from osqueue_service.rpc.positions import check_live, commit_position, view_position
from osqueue_service.rpc.queue_service.attempts import AttemptReader, Renewal
from osqueue_service.rpc.queue_service.following import complete, tell
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import (
    Claim,
    CompleteItem,
    Fail,
    FailAnswer,
    FailItem,
    Followed,
    Granted,
    Release,
    ReleaseItem,
)
from osqueue_service.state.model import Status
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import queue_pb2

Item = CompleteItem | FailItem | ReleaseItem

FRAMES_UNDER_WAY = 16
"""Frames of one stream whose changes may be under way at once; the next one is read when one of them is durable."""

UNSENT_MAX = 20_000
"""Receipts and renewals that may wait to be sent: a worker that does not read them is not read from either."""


Message = TypeVar(
    "Message",
    queue_pb2.CompleteJobRequest,
    queue_pb2.FailJobRequest,
    queue_pb2.ReleaseJobRequest,
    queue_pb2.HeartbeatRequest,
)


class Held(Struct, frozen=True, gc=False):
    """A lease that the worker holds on this stream."""

    number: int
    job_id: str
    token: str


class WorkSession:
    """The broker's side of one worker's stream, without the stream.

    `frame` takes what the worker sends, `outgoing` waits for what it is to be sent. A slot is free as soon as the
    worker says that its job is settled, so that the next claim is part of the same commit.
    """

    def __init__(
        self, engine: Engine, reader: AttemptReader, ids: IdSource, opened: queue_pb2.WorkOpen, lane: Lane
    ) -> None:
        self.worker_id = opened.worker_id
        self._lane = lane
        self._engine = engine
        self._reader = reader
        self._ids = ids
        self._types = list(opened.types)
        self._lease_ms = opened.lease_ms
        self._slots = opened.slots
        self._stream_key = opened.stream_key
        self._held: dict[str, Held] = {}
        self._job_ids: dict[int, str] = {}
        self._draining = False
        self._message = queue_pb2.WorkResponse()
        self._arrived = asyncio.Event()
        self._slots_changed = asyncio.Event()
        self._settling: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(FRAMES_UNDER_WAY)
        self._waiting: Claim | None = None
        self._taken = asyncio.Event()
        # One object for `leave` to recognise: a bound method is a new object each time it is looked up.
        self._listener: Callable[[Notice], None] = self._on_notice

    async def open(self, held: Sequence[queue_pb2.HeldLease]) -> None:
        """Answer the introduction: which of the leases the worker still holds live; those are renewed."""
        check_live(self._engine)
        opened = queue_pb2.WorkOpened(slots=self._slots)
        position = view_position(self._engine)
        for lease in held:
            opened.held.append(self._renewed(Renewal(lease.job_id, self.worker_id, lease.lease_token)))
        # What was just found lost may rest on a change that is still under way.
        await self._engine.settled()
        self._message.opened.CopyFrom(opened)
        self._message.position.CopyFrom(position)
        self._arrived.set()

    # --- what the worker sends ---------------------------------------------------------------------------------

    async def frame(self, frame: queue_pb2.WorkRequest) -> None:
        """Take one frame. Returns when it is accepted; its receipts follow when its changes are durable."""
        while len(self._message.receipts) + len(self._message.renewals) > UNSENT_MAX:
            self._taken.clear()
            await self._taken.wait()
        wrong = Violations()
        now_ms = self._engine.now_ms()
        completions = [self._reader.completion(self._mine(item), wrong, now_ms) for item in frame.completions]
        self._reader.check_follow_ups(completions, wrong)
        failures = [self._reader.failure(self._mine(item), self._ids.jitter(), wrong) for item in frame.failures]
        releases = [self._reader.release(self._mine(item), wrong) for item in frame.releases]
        renewals = [self._reader.renewal(self._mine(item), wrong) for item in frame.heartbeats]
        wrong.check()
        if frame.HasField("slots"):
            self._slots = self._lane.slots = frame.slots
        self._draining = self._lane.draining = self._draining or frame.drain
        items: list[Item] = [*completions, *failures, *releases]
        for item in items:
            self._let_go(item.job_id, item.token)
        self._slots_changed.set()
        if self._waiting is not None:
            self._waiting.max_jobs = max(1, self._free())
        if completions:
            await self._settle(complete(self._engine, completions, frame.ByteSize()), completions)
        if failures:
            await self._settle(self._engine.execute(Fail(failures), frame.ByteSize()), failures)
        if releases:
            await self._settle(self._engine.execute(Release(releases)), releases)
        if frame.renew_all:
            renewals += [Renewal(held.job_id, self.worker_id, held.token) for held in self._held.values()]
        if renewals:
            await self._renew(renewals)

    def _mine(self, item: Message) -> Message:
        """Items of a stream may leave out the worker id."""
        if not item.worker_id:
            item.worker_id = self.worker_id
        return item

    async def _settle(self, changing: Coroutine[Any, Any, list[Any]], items: Sequence[Item]) -> None:
        try:
            await self._room.acquire()
        except BaseException:
            changing.close()  # it has not begun, and never will
            raise
        task = asyncio.get_running_loop().create_task(self._receipts(changing, items))
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: "asyncio.Task[None]") -> None:
        self._settling.discard(task)
        self._room.release()
        self._slots_changed.set()
        self._arrived.set()

    async def _receipts(self, changing: Awaitable[list[Any]], items: Sequence[Item]) -> None:
        """One receipt per item, once durable."""
        answers: list[Any]
        try:
            answers = await changing
        except OsqueueError as error:
            answers = [error] * len(items)
        add = self._message.receipts.add
        completed = Status.COMPLETED.wire
        for item, answer in zip(items, answers, strict=True):
            receipt = add()
            receipt.job_id, receipt.lease_token = item.job_id, item.token
            if answer is None:
                receipt.status = completed
            elif isinstance(answer, Followed):
                receipt.status = completed
                tell(answer, receipt)
            elif isinstance(answer, FailAnswer):
                receipt.status, receipt.run_at = answer.status.wire, answer.next_at
            elif isinstance(answer, Status):
                receipt.status = answer.wire
            else:
                receipt.error.CopyFrom(item_error(answer))
        if not all(isinstance(answer, OsqueueError) for answer in answers):
            self._message.commit.CopyFrom(commit_position(self._engine))

    async def _renew(self, renewals: Sequence[Renewal]) -> None:
        check_live(self._engine)
        position = view_position(self._engine)
        states = [self._renewed(renewal) for renewal in renewals]
        if not all(state.live for state in states):
            await self._engine.settled()
        self._message.renewals.extend(states)
        self._message.position.CopyFrom(position)
        self._arrived.set()

    def _renewed(self, renewal: Renewal) -> queue_pb2.LeaseState:
        state = queue_pb2.LeaseState(job_id=renewal.job_id, lease_token=renewal.token)
        try:
            lease, cancel_requested = self._engine.heartbeats.renew(
                renewal.job_id, renewal.worker_id, renewal.token, renewal.progress, renewal.running_ms
            )
        except OsqueueError:
            # The worker is told by `live`: the lease is lost, whatever the reason.
            self._let_go(renewal.job_id, renewal.token)
            return state
        state.live, state.cancel_requested = True, cancel_requested
        state.lease_expires_at = lease.expires_at
        self._hold(Held(lease.number, renewal.job_id, lease.token))
        return state

    # --- what the worker is sent -------------------------------------------------------------------------------

    async def dispatch(self) -> None:
        """Claim jobs for every free slot until the worker drains; returns then, when nothing is held any more."""
        while not (self._draining and not self._held and not self._settling):
            self._slots_changed.clear()
            free = self._free()
            if free <= 0:
                await self._slots_changed.wait()
                continue
            self._waiting = Claim(self.worker_id, self._types, free, 0, self._lease_ms, self._claim_key())
            self._push(await self._claimed(self._waiting))

    def _claim_key(self) -> str:
        """A new one for each claim; that it begins with the stream's key tells, also to a later leader, who sent it."""
        return f"{self._stream_key}.{self._ids.token()}" if self._stream_key else ""

    async def _claimed(self, claim: Claim) -> list[Granted]:
        """Jobs, or none when the wait was over or a frame left no slot free meanwhile."""
        loop = asyncio.get_running_loop()
        claiming = loop.create_task(self._engine.claim(claim, self._engine.limits.wait_ms_max))
        changed = loop.create_task(self._slots_changed.wait())
        try:
            while True:
                await asyncio.wait({claiming, changed}, return_when=asyncio.FIRST_COMPLETED)
                if claiming.done():
                    return claiming.result()
                self._slots_changed.clear()
                if self._free() <= 0:
                    return []
                changed = loop.create_task(self._slots_changed.wait())
        finally:
            self._waiting = None
            # Jobs that are granted to the claim all the same are given back by the engine.
            claiming.cancel()
            claiming.add_done_callback(_mark_retrieved)
            changed.cancel()

    def _push(self, granted: list[Granted]) -> None:
        # A lease that ended while its commit was settled had nobody to listen for that; nobody need begin the job.
        granted = [job for job in granted if self._is_live(job)]
        if granted:
            for job in granted:
                self._hold(Held(job.number, job.job_id, job.token))
            fill_claimed(self._engine, granted, self._message.jobs.add)
            self._message.commit.CopyFrom(commit_position(self._engine))
            self._arrived.set()

    def _is_live(self, job: Granted) -> bool:
        lease = self._engine.views.lease_of(job.number)
        return lease is not None and lease.token == job.token

    def _on_notice(self, notice: Notice) -> None:
        held = self._held[self._job_ids[notice.number]]
        unsent = [n for n, job in enumerate(self._message.jobs) if notice.lost and job.lease_token == held.token]
        for position in unsent:
            del self._message.jobs[position]  # a worker that was slow to read: it need not start what is lost
        self._message.notices.add(
            job_id=held.job_id, lease_token=held.token, live=not notice.lost, cancel_requested=not notice.lost
        )
        if notice.lost:
            self._let_go(held.job_id, held.token)
            self._slots_changed.set()
        self._arrived.set()

    async def outgoing(self) -> queue_pb2.WorkResponse:
        """Wait until there is something to send, and take it."""
        await self._arrived.wait()
        return self._take()

    async def last(self, reason: OsqueueError | None) -> queue_pb2.WorkResponse:
        """What is left to send when the stream ends: the receipts of all changes under way, and where to go."""
        self._draining = True
        if self._settling:
            await asyncio.wait(self._settling)
        if isinstance(reason, NotLeader):
            self._message.drain.message = reason.message
            self._message.drain.leader_address = reason.leader_address
        return self._take()

    def _take(self) -> queue_pb2.WorkResponse:
        self._arrived.clear()
        self._taken.set()
        message, self._message = self._message, queue_pb2.WorkResponse()
        return message

    def close(self) -> None:
        """The stream is over. What the worker holds stays its own until the leases expire; what was never sent to it is
        given back."""
        unsent = [ReleaseItem(job.job_id, self.worker_id, job.lease_token) for job in self._message.jobs]
        if unsent:
            self._engine.give_back(Release(unsent))
        for held in list(self._held.values()):
            self._let_go(held.job_id, held.token)
        self._listener = _deaf  # or this object, which knows its own method, would live until a collection

    def _free(self) -> int:
        return 0 if self._draining else self._slots - len(self._held)

    def _hold(self, held: Held) -> None:
        self._held[held.job_id] = held
        self._job_ids[held.number] = held.job_id
        self._engine.notices.listen(held.number, self._listener)

    def _let_go(self, job_id: str, token: str) -> None:
        """The lease of this token is over, or about to be; the job may be held anew, by another. An adopted job's
        worker knows no token: its id stands for the lease."""
        held = self._held.get(job_id)
        if held is not None and token in ("", held.token):
            del self._held[job_id]
            del self._job_ids[held.number]
            self._engine.notices.leave(held.number, self._listener)


def _deaf(notice: Notice) -> None:
    """Listens for a session that is closed."""


def _mark_retrieved(task: "asyncio.Task[list[Granted]]") -> None:
    """Of a claim that nobody waits for any more, an error is nobody's either: the stream ends for its own reason."""
    if not task.cancelled():
        task.exception()


def sent_by(state: State, worker: Worker | None, stream_key: str) -> list[tuple[str, str]]:
    """The jobs that the worker holds and a stream of this key sent it: their ids and tokens."""
    jobs = [state.jobs[number] for number in worker.numbers if number in state.jobs] if worker is not None else []
    leased = [(job, job.lease) for job in jobs if job.lease is not None]
    prefix = f"{stream_key}."
    return [(state.job_id(job), lease.token) for job, lease in leased if lease.claim_key.startswith(prefix)]

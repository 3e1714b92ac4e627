"""The single writer.

Commands wait in a bounded inbox. When the pipeline has room, all that wait are applied to
the state at one stamped time, encoded once, and put as the next commit. Answers are
attached to the commit whose effects they saw and are given when it is durable, so there
is no path on which an answer could overtake the log.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from osqueue_service.clock import Clock
from osqueue_service.engine.authority import Authority
from osqueue_service.engine.checkpointing import Checkpointer
from osqueue_service.engine.codec import encode_commit
from osqueue_service.engine.dispatch import Dispatcher
from osqueue_service.engine.due import Due
from osqueue_service.engine.execution import Execution
from osqueue_service.engine.followers import Followers
from osqueue_service.engine.heartbeats import Heartbeats
from osqueue_service.engine.inbox import Entry, Inbox, Pacing
from osqueue_service.engine.notices import LeaseNotices
from osqueue_service.engine.pipeline import Batch, PendingCommit, Pipeline, Reply, give
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.term import Term
from osqueue_service.engine.timing import Alarm, Moment, QueueTime
from osqueue_service.engine.totals import Statistics
from osqueue_service.engine.views import Views
from osqueue_service.errors import NotLeader
from osqueue_service.ids import IdSource
from osqueue_service.limits import Limits
from osqueue_service.state import features
from osqueue_service.state.commands import Claim, Command, Granted, Release
from osqueue_service.state.records import Founded, IdsRenewed
from osqueue_service.state.state import State


class Engine:
    """One leader's queue, from the moment its log is replayed to the moment it steps down.

    Every public coroutine may be cancelled at any time: what has been put stays put, and jobs that were
    claimed for a caller that is gone are released in the next commit. `callers_clock` measures how long callers
    wait, where that is not the clock of the queue's own time.
    """

    def __init__(
        self,
        term: Term,
        state: State,
        *,
        clock: Clock,
        ids: IdSource,
        limits: Limits,
        settings: EngineSettings,
        callers_clock: Clock | None = None,
        storage_requests: Callable[[], int] = lambda: 0,
    ) -> None:
        callers_clock = callers_clock or clock
        self.term = term
        self.limits = limits
        self._state = state
        self._clock = clock
        self._ids = ids
        self._time = time = QueueTime(clock, state.stamp_ms)
        self._inbox = Inbox(limits)
        self._pipeline = Pipeline(self._released)
        self._pacing = Pacing(term.appender, settings)
        self._checkpointer = Checkpointer(term, state, clock, self._ended)
        self._followers = followers = Followers(state, limits, storage_requests)
        now = time.read()
        followers.start(int(now.monotonic), now.queue_ms)
        self._dispatcher = Dispatcher(state.lines, callers_clock, ids, self.give_back)
        self._authority = Authority(
            term,
            self._pipeline,
            callers_clock=callers_clock,
            anybody_waits=self._anybody_waits,
            send_away=self._send_away,
        )
        self._execution = Execution(
            state, followers, self._dispatcher, limits=limits, on_wait=self._authority.somebody_waits
        )
        self._wake = asyncio.Event()
        self._alarm = Alarm(clock, self._wake.set)
        self._task: asyncio.Task[None] | None = None
        self._due = Due(
            state, followers.leases, term,
            alarm=self._alarm, ids=ids, limits=limits, settings=settings, clock=clock,
            next_start=lambda: state.lines.parking.next_ms() if self._dispatcher.waiting.count else None,
        )  # fmt: skip
        self._statistics = Statistics(state, now.monotonic)
        self.views = Views(
            term, state, followers, self._statistics, self._pipeline, self._authority,
            callers_clock=callers_clock, time=time, limits=limits,
        )  # fmt: skip
        self.heartbeats = Heartbeats(state, followers, self._authority, time, self._ask_due)
        self.closed: asyncio.Future[NotLeader] = asyncio.get_running_loop().create_future()
        """Resolves, with what callers hear from then on, when this engine takes no more calls."""
        self.notices: LeaseNotices = self._followers.notices
        """Where holders of leases listen for what happens to them."""
        self.sequence = term.appender.next_sequence - 1
        """The last durable commit."""

    # --- the life of an engine ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to commit. A queue that never had a commit is founded; one that was adopted, or left by the first
        format, gives ids of today's form to the jobs that come."""
        state = self._state
        if not state.ids.since:
            first = IdsRenewed(state.next_number) if state.salt else Founded(self._ids.salt())
            batch = Batch(self._time.read())
            batch.records.append(first)
            self._followers.apply(first, batch)
            self._put(batch)
        self._checkpointer.consider(self._clock.monotonic_ms())
        self._ask_due()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="engine")
        self._task.add_done_callback(self._ended)
        self._wake.set()

    async def stop(self, *, leader_address: str = "") -> None:
        """Take no more commands, give every waiter its one outcome, and return when all that was put is settled."""
        self._close(NotLeader("this broker is shutting down; ask the new leader", leader_address=leader_address))
        await self._checkpointer.stop()
        try:
            await self._pipeline.settled()
        except NotLeader:
            # The lane ended while we waited: its end has already answered everyone.
            return

    def lose(self, *, leader_address: str = "") -> None:
        """Leadership is over: acknowledge nothing more."""
        self._close(NotLeader("this broker is no longer the leader", leader_address=leader_address))
        self._pipeline.fail(leader_address)
        self._checkpointer.abandon()

    def _close(self, refusal: NotLeader) -> None:
        if self._is_closed:
            return
        self._authority.close(refusal)
        self.closed.set_result(refusal)
        for entry in self._inbox.drain():
            give(Reply(entry.answer, refusal, False))
        self._followers.hub.close(refusal)
        self._alarm.cancel()
        self._wake.set()

    # --- what callers ask --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Queue time: what the next commit would be stamped with."""
        return self._time.now_ms()

    async def execute(self, command: Command, size: int = 0) -> Any:
        """Apply the command and return its answer once it is durable. `size`: the request's bytes, for the limit."""
        if (used := features.of_command(command)) and not self._is_closed:
            await self.term.switch_on(used)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._accept(Entry(command, answer, size))
        try:
            return await answer
        finally:
            del answer  # it keeps what it raises, and that this frame

    async def claim(self, command: Claim, wait_ms: int = 0) -> list[Granted]:
        """Jobs for the worker, waiting up to `wait_ms` for the first. Empty when there is none by then."""
        answer: asyncio.Future[list[Granted]] = asyncio.get_running_loop().create_future()
        self._accept(Entry(command, answer, 0, min(wait_ms, self.limits.wait_ms_max)))
        try:
            return await answer
        finally:
            del answer

    def give_back(self, release: Release) -> "asyncio.Future[Any]":
        """Release, in the next commit, jobs that their claimer never heard of. Nobody need wait for the outcome;
        cancelling it before that commit calls it off."""
        nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            nobody.cancel()  # the next leader's leases start anew, and end
            return nobody
        nobody.add_done_callback(_mark_retrieved)
        # Not through `_accept`: giving back is never refused, or the jobs would wait for their leases.
        self._inbox.add_own(Entry(release, nobody))
        self._wake.set()
        return nobody

    async def settled(self) -> None:
        """Return when every change made so far is durable."""
        await self._authority.settled()

    @property
    def commit_lag_ms(self) -> int:
        """How long the oldest change that is not durable yet has been under way; 0 when there is none."""
        put_at = self._pipeline.oldest_put_at
        return 0 if put_at is None else int(self._clock.monotonic_ms() - put_at)

    @property
    def checkpointing(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._checkpointer.running

    @property
    def inbox_length(self) -> int:
        return len(self._inbox.entries)

    @property
    def waiting_claims(self) -> int:
        return self._dispatcher.waiting.count

    def is_awaited(self, type_name: str) -> bool:
        """Whether a claim waits that would take a job of the type."""
        return self._dispatcher.waiting.wants(type_name)

    def _anybody_waits(self) -> bool:
        return bool(self._dispatcher.waiting.count or self._followers.finishing.count)

    @property
    def _is_closed(self) -> bool:
        return self._authority.refusal is not None

    def _accept(self, entry: Entry) -> None:
        if self._is_closed:
            self._authority.check_open()
        if entry.wait_ms:
            self._execution.check_waiting()
        self._inbox.add(entry)
        self._pacing.arrived(self._clock.monotonic_ms())
        self._wake.set()

    def _send_away(self, refusal: NotLeader) -> None:
        """Refuse everybody who waits for a job to claim, or for one to finish."""
        self._dispatcher.close(lambda answer: give(Reply(answer, refusal, False)))
        self._followers.finishing.close(refusal)

    # --- committing --------------------------------------------------------------------------------------------

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A bug must not leave a leader that renews its term and answers nobody: another broker shall have it."""
        if not task.cancelled() and (bug := task.exception()) is not None:
            self.term.end(bug if isinstance(bug, Exception) else RuntimeError(repr(bug)))
        elif not self._is_closed:
            self._ask_due()  # a checkpoint is done: keys may be forgotten again
            self._wake.set()

    async def _run(self) -> None:
        while not self._is_closed:
            now = self._time.read()
            if (self._inbox.entries or self._due.is_pressing(now)) and self.term.appender.room:
                delay_ms = self._pacing.company_ms(self._pipeline.calls, now.monotonic)
                if delay_ms <= 0:
                    self._commit(now)
                    continue
                self._alarm.set(now.monotonic + delay_ms, now.monotonic)
            self._wake.clear()
            await self._wake.wait()

    def _commit(self, now: Moment) -> None:
        """Apply all that waits, and put it."""
        batch = Batch(now)
        taken: list[Entry] = []
        try:
            self._fill(batch, taken, now)
        except Exception:
            # A bug: it ends this term, and nothing of the batch was put. Its callers may ask the next leader.
            refusal = NotLeader("this broker has failed; the call was not applied")
            for entry in taken:
                give(Reply(entry.answer, refusal, False))
            raise
        if batch.records:
            self._put(batch)
            return
        if not len(self._pipeline) and not self.term.is_live():
            # No commit proves that this broker still leads, so what it would answer may be outdated.
            for reply in batch.replies:
                reply.value = NotLeader("this broker could not renew its leadership in time; nothing was changed")
        self._pipeline.attach(batch.replies)

    def _fill(self, batch: Batch, taken: list[Entry], now: Moment) -> None:
        """Apply what is due, what was asked, and what those who wait can have now."""
        # A checkpoint that is being written has yet to read the keys: they are not due before it is done.
        forget = not self._checkpointer.running
        sweep = self._due.sweep(now, forget=forget)
        if sweep is not None:
            self._execution.change(sweep, batch)
            self._due.check_progress(sweep, batch.at_ms, bool(batch.records))
        for entry in self._inbox.take(self.limits.commit_bytes):
            taken.append(entry)
            self._execution.execute(entry, batch)
        self._execution.serve_waiting(batch)
        used = features.used_by(batch.records)
        if used and (ungated := sorted(used.difference(self.term.root.needs))):
            raise RuntimeError(f"records use {ungated}, and the root does not say so: no other release could tell")
        self._due.ask(forget=forget)

    def _ask_due(self) -> None:
        self._due.ask(forget=not self._checkpointer.running)

    def _put(self, batch: Batch) -> None:
        lane = self.term.appender
        body = encode_commit(batch.at_ms, batch.records)
        put_at = self._clock.monotonic_ms()
        totals, breakdown = self._statistics.now(put_at)
        commit = PendingCommit(
            sequence=lane.next_sequence,
            replies=batch.replies,
            totals=totals,
            breakdown=breakdown,
            put_at=put_at,
            size=len(body),
            finished=batch.finished,
            events=batch.events,
            notices=batch.notices,
        )
        self._pipeline.push(commit, lane.append(body, len(batch.records)))
        self._pacing.put(put_at)

    def _released(self, commit: PendingCommit) -> None:
        self._statistics.durable(commit.totals, commit.breakdown)
        self.sequence = commit.sequence
        now = self._time.read()
        self._followers.durable(commit, now.queue_ms, now.monotonic - commit.put_at, self.term.end)
        if not self._is_closed:
            if self._checkpointer.consider(now.monotonic):
                self._ask_due()
            self._wake.set()


def _mark_retrieved(answer: "asyncio.Future[Any]") -> None:
    """Nobody waits for this answer, so nobody would look at its error."""
    if not answer.cancelled():
        answer.exception()

"""The single writer.

Commands wait in a bounded inbox. When the pipeline has room, all that wait are applied to
the state at one stamped time, encoded once, and put as the next commit. Answers are
attached to the commit whose effects they saw and are given when it is durable, so there
is no path on which an answer could overtake the log.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from osqueue_service.clock import Clock, Timer
from osqueue_service.engine.checkpointing import Checkpointer
from osqueue_service.engine.codec import encode_commit
from osqueue_service.engine.leases import LeaseTable, LiveLease, Progress
from osqueue_service.engine.pacing import Pacing
from osqueue_service.engine.pipeline import PendingCommit, Pipeline, Reply, give
from osqueue_service.engine.queue_time import QueueTime
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.term import Term
from osqueue_service.engine.totals import Totals, totals_of
from osqueue_service.engine.waiting import FinishWaiters, WaitingClaim, WaitingClaims
from osqueue_service.errors import NotLeader, OsqueueError, TooManyRequests
from osqueue_service.ids import IdSource
from osqueue_service.limits import Limits
from osqueue_service.state.apply import apply
from osqueue_service.state.commands import Claim, Command, Granted, Release, ReleaseItem, Sweep
from osqueue_service.state.machine import execute
from osqueue_service.state.records import AnyRecord, Founded
from osqueue_service.state.settling import holder
from osqueue_service.state.state import State
from osqueue_service.state.sweeping import is_due

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Entry(Struct, gc=False):
    """A command in the inbox. `wait_ms` > 0: a claim that finds nothing may wait that long."""

    command: Command
    answer: "asyncio.Future[Any]"
    size: int
    wait_ms: int = 0


class Engine:
    """One leader's queue, from the moment its log is replayed to the moment it steps down.

    Every public coroutine may be cancelled at any time: what has been put stays put, and jobs that were
    claimed for a caller that is gone are released in the next commit.
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
    ) -> None:
        self.term = term
        self.limits = limits
        self._state = state
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._time = QueueTime(clock, state.stamp_ms)
        self._inbox: deque[_Entry] = deque()
        self._inbox_bytes = 0
        self._waiting = WaitingClaims()
        self._finishing = FinishWaiters(limits.waiting_reads)
        self._pipeline = Pipeline(self._released)
        self._pacing = Pacing(clock, term.appender, settings)
        self._checkpointer = Checkpointer(term, state, clock)
        self._leases = LeaseTable()
        self._leases.start_anew(state, int(clock.monotonic_ms()), self._time.now_ms())
        self._wake = asyncio.Event()
        self._alarm: Timer | None = None
        self._alarm_at = 0.0
        self._closed: NotLeader | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_lapse = clock.monotonic_ms()
        self.totals: Totals = totals_of(state)
        """The figures as of the last durable commit."""
        self.sequence = term.appender.next_sequence - 1
        """The last durable commit."""

    # --- the life of an engine ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to commit. A queue that never had a commit is founded."""
        if not self._state.salt:
            founded = Founded(self._ids.salt())
            apply(self._state, founded, self._time.now_ms())
            self._put([founded], self._time.now_ms(), [])
        self._checkpointer.consider()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="engine")
        self._wake.set()

    async def stop(self, *, leader_address: str = "") -> None:
        """Take no more commands, give every waiter its one outcome, and return when all that was put is settled."""
        if self._closed is None:
            self._close(NotLeader("this broker is shutting down; ask the new leader", leader_address=leader_address))
        await self._checkpointer.stop()
        if len(self._pipeline):
            last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pipeline.attach([Reply(last, None, False)])
            try:
                await last
            except NotLeader:
                # The lane ended while we waited: its end has already answered everyone.
                return

    def lose(self, *, leader_address: str = "") -> None:
        """Leadership is over: acknowledge nothing more."""
        self._close(NotLeader("this broker is no longer the leader", leader_address=leader_address))
        self._pipeline.fail(leader_address)
        self._checkpointer.abandon()

    def _close(self, refusal: NotLeader) -> None:
        if self._closed is not None:
            return
        self._closed = refusal
        for entry in self._inbox:
            give(Reply(entry.answer, refusal, False))
        self._inbox.clear()
        self._inbox_bytes = 0
        for waiting in self._waiting:
            give(Reply(waiting.answer, refusal, False))
        self._finishing.close(refusal)
        if self._alarm is not None:
            self._alarm.cancel()
        self._wake.set()

    # --- what callers ask --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Queue time: what the next commit would be stamped with."""
        return self._time.now_ms()

    async def execute(self, command: Command, size: int = 0) -> Any:
        """Apply the command and return its answer once it is durable. `size`: the request's bytes, for the limit."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._accept(_Entry(command, answer, size))
        return await answer

    async def claim(self, command: Claim, wait_ms: int = 0) -> list[Granted]:
        """Jobs for the worker, waiting up to `wait_ms` for the first. Empty when there is none by then."""
        answer: asyncio.Future[list[Granted]] = asyncio.get_running_loop().create_future()
        self._accept(_Entry(command, answer, 0, min(wait_ms, self.limits.wait_ms_max)))
        return await answer

    async def heartbeat(
        self, job_id: str, worker_id: str, token: str, progress: tuple[float, str] | None = None
    ) -> tuple[LiveLease, bool]:
        """Extend the lease to its full length from now; also answers whether cancellation was requested.

        Costs no commit. A refusal, which may rest on a change under way, waits until that is durable.
        """
        self._check_live()
        try:
            return self.renew(job_id, worker_id, token, progress)
        except OsqueueError:
            await self.settled()
            raise

    def renew(
        self, job_id: str, worker_id: str, token: str, progress: tuple[float, str] | None = None
    ) -> tuple[LiveLease, bool]:
        """The heartbeat itself. A refusal must not be told before `settled()`."""
        job = holder(self._state, job_id, worker_id, token)
        now_ms = self._time.now_ms()
        said = Progress(*progress, now_ms) if progress is not None else None
        return self._leases.renew(job.number, int(self._clock.monotonic_ms()), now_ms, said), job.cancel_requested

    async def read(self, view: Callable[[State], T], *, linearizable: bool = False) -> T:
        """What `view` makes of the state, once every change that it may have seen is durable.

        `view` runs at once and must not keep references to what it looked at. With `linearizable` the
        broker proves, after the call arrived, that it still leads.
        """
        self._check_live()
        confirmed = self.term.confirm() if linearizable else None
        seen = view(self._state)
        await self.settled()
        if confirmed is not None:
            await confirmed
        return seen

    async def wait_finished(self, job_id: str, wait_ms: int, view: Callable[[State], T]) -> T:
        """`view` once the job is finished, or after `wait_ms`, whichever is first."""
        self._check_live()
        job = self._state.find(job_id)
        if job is not None and not job.status.finished and wait_ms > 0:
            finished = self._finishing.add(job.number)
            timer = self._clock.call_later_ms(min(wait_ms, self.limits.wait_ms_max), finished.time_is_up)
            try:
                await finished.future
            finally:
                timer.cancel()
                self._finishing.remove(finished)
        return await self.read(view)

    async def settled(self) -> None:
        """Return when every change made so far is durable."""
        if self._closed is not None:
            raise self._closed
        if len(self._pipeline):
            durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pipeline.attach([Reply(durable, None, False)])
            await durable

    def lease_of(self, number: int) -> LiveLease | None:
        """The lease of a running job as heartbeats left it."""
        return self._leases.get(number)

    def expires_at(self, lease: LiveLease) -> int:
        """When the lease expires, in queue time."""
        return self._time.now_ms() + lease.expires - int(self._clock.monotonic_ms())

    @property
    def commit_lag_ms(self) -> int:
        """How long the oldest change that is not durable yet has been under way; 0 when there is none."""
        put_at = self._pipeline.oldest_put_at
        return 0 if put_at is None else int(self._clock.monotonic_ms() - put_at)

    @property
    def inbox_length(self) -> int:
        return len(self._inbox)

    @property
    def waiting_claims(self) -> int:
        return self._waiting.count

    def _check_live(self) -> None:
        if self._closed is not None:
            raise self._closed
        if not self.term.is_live():
            raise NotLeader("this broker could not renew its leadership in time, so its answers may be stale")

    def _accept(self, entry: _Entry) -> None:
        if self._closed is not None:
            raise self._closed
        limits = self.limits
        full = len(self._inbox) >= limits.inbox_commands or self._inbox_bytes + entry.size > limits.inbox_bytes
        if full:
            raise TooManyRequests(
                f"{len(self._inbox)} calls of {self._inbox_bytes} bytes wait to be committed, which is the limit "
                "(inbox_commands, inbox_bytes): storage is slower than the load. Try again later",
                retry_after_ms=1_000,
            )
        if entry.wait_ms and self._waiting.count >= limits.waiting_claims:
            raise TooManyRequests(
                f"{limits.waiting_claims} claims wait for a job, which is the limit (waiting_claims): claim without "
                "wait_ms, or with fewer workers",
                retry_after_ms=1_000,
            )
        self._inbox.append(entry)
        self._inbox_bytes += entry.size
        self._pacing.arrived()
        self._wake.set()

    # --- committing --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while self._closed is None:
            if self._has_work() and self.term.appender.room:
                delay_ms = self._pacing.company_ms()
                if delay_ms <= 0:
                    self._commit()
                    continue
                self._set_alarm(self._clock.monotonic_ms() + delay_ms)
            self._wake.clear()
            await self._wake.wait()

    def _has_work(self) -> bool:
        if self._inbox:
            return True
        monotonic = self._clock.monotonic_ms()
        next_expiry = self._leases.next_expiry()
        if next_expiry is not None and next_expiry <= monotonic:
            return True
        now_ms = self._time.now_ms()
        urgent = self._state.next_urgent_ms()
        if urgent is not None and urgent <= now_ms:
            return True
        lapse = self._state.next_lapse_ms()
        if lapse is not None and lapse <= now_ms:
            if monotonic - self._last_lapse >= self._settings.lapse_interval_ms:
                return True
            self._set_alarm(self._last_lapse + self._settings.lapse_interval_ms)
        self._arm(monotonic, now_ms, next_expiry, urgent, lapse)
        return False

    def _arm(self, monotonic: float, now_ms: int, *moments: int | None) -> None:
        """Wake when the next thing is due. `moments`: lease expiry (monotonic), then queue times."""
        next_expiry, *queue_times = moments
        due = [float(next_expiry)] if next_expiry is not None else []
        due += [monotonic + (at_ms - now_ms) for at_ms in queue_times if at_ms is not None and at_ms > now_ms]
        if due:
            # One millisecond more: moments are whole milliseconds, and a timer that fires early finds nothing due.
            self._set_alarm(min(due) + 1)

    def _set_alarm(self, monotonic: float) -> None:
        now = self._clock.monotonic_ms()
        if self._alarm is not None:
            if now < self._alarm_at <= monotonic:
                return
            self._alarm.cancel()
        self._alarm_at = monotonic
        self._alarm = self._clock.call_later_ms(max(0.0, monotonic - now), self._wake.set)

    def _commit(self) -> None:
        """Apply all that waits, and put it."""
        now_ms = self._time.now_ms()
        records: list[AnyRecord] = []
        replies: list[Reply] = []
        self._sweep(now_ms, records)
        room = self.limits.commit_bytes
        while self._inbox and room > 0:
            entry = self._inbox.popleft()
            self._inbox_bytes -= entry.size
            if not entry.answer.done():  # a caller that is gone before this moment has asked for nothing
                room -= entry.size
                self._apply(entry, now_ms, records, replies)
        if self._waiting.count:
            for waiting, share in self._waiting.servable(self._state.ready):
                self._serve(waiting, share, now_ms, records, replies)
        if records:
            self._put(records, now_ms, replies)
        else:
            self._pipeline.attach(replies)

    def _sweep(self, now_ms: int, records: list[AnyRecord]) -> None:
        monotonic = int(self._clock.monotonic_ms())
        limit = self.limits.sweep_jobs
        expired = self._leases.expired(monotonic, limit)
        if not expired and not is_due(self._state, now_ms, self.limits):
            return
        self._last_lapse = monotonic
        timeouts = self._state.timeouts.next_ms()
        overdue = limit if timeouts is not None and timeouts <= now_ms else 0
        jitters = [self._ids.jitter() for _ in range(len(expired) + overdue)]
        command = Sweep(expired, jitters, limit, forget=not self._checkpointer.running)
        self._change(command, now_ms, records)

    def _apply(self, entry: _Entry, now_ms: int, records: list[AnyRecord], replies: list[Reply]) -> None:
        """Execute one command; its reply goes with this commit."""
        command = entry.command
        if isinstance(command, Claim):
            self._stamp(command)
        try:
            answer = self._change(command, now_ms, records)
        except OsqueueError as refusal:
            replies.append(Reply(entry.answer, refusal, True))
            return
        if isinstance(command, Claim):
            if not answer and entry.wait_ms:
                self._wait(command, entry)
                return
            entry.answer.add_done_callback(self._give_back(command, answer))
        replies.append(Reply(entry.answer, answer, True))

    def _change(self, command: Command, now_ms: int, records: list[AnyRecord]) -> Any:
        new, answer = execute(self._state, command, now_ms, self.limits)
        if new:
            monotonic = int(self._clock.monotonic_ms())
            for record in new:
                self._leases.follow(record, monotonic, now_ms)
            records += new
        return answer

    def _stamp(self, claim: Claim, share: int | None = None) -> None:
        """Draw a token for every job that the claim may get."""
        ready = self._state.ready
        waiting = sum(map(ready.count, claim.types)) if claim.types else ready.total
        most = min(claim.max_jobs, waiting) if share is None else min(claim.max_jobs, waiting, share)
        claim.tokens = [self._ids.token() for _ in range(most)]

    def _wait(self, command: Claim, entry: _Entry) -> None:
        waiting = self._waiting.add(command, entry.answer)

        def time_is_up() -> None:
            if not entry.answer.done():
                entry.answer.set_result([])

        timer = self._clock.call_later_ms(entry.wait_ms, time_is_up)

        def over(_: object) -> None:
            timer.cancel()
            self._waiting.remove(waiting)

        entry.answer.add_done_callback(over)

    def _serve(
        self, waiting: WaitingClaim, share: int, now_ms: int, records: list[AnyRecord], replies: list[Reply]
    ) -> None:
        """Give a waiting claim its jobs; they become durable in the same commit as what made them ready."""
        self._waiting.remove(waiting)
        if waiting.answer.done():
            return
        self._stamp(waiting.command, share)
        granted = self._change(waiting.command, now_ms, records)
        waiting.answer.add_done_callback(self._give_back(waiting.command, granted))
        replies.append(Reply(waiting.answer, granted, True))

    def _give_back(self, claim: Claim, granted: list[Granted]) -> "Callable[[asyncio.Future[Any]], None]":
        """A caller that is gone before it hears of its jobs never will: release them in the next commit."""

        def done(answer: "asyncio.Future[Any]") -> None:
            if answer.cancelled() and granted and self._closed is None:
                items = [ReleaseItem(job.job_id, claim.worker_id, job.token) for job in granted]
                ignored: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                # Not through `_accept`: giving back is never refused, or the jobs would wait for their leases.
                self._inbox.append(_Entry(Release(items), ignored, 0))
                self._wake.set()

        return done

    def _put(self, records: list[AnyRecord], now_ms: int, replies: list[Reply]) -> None:
        lane = self.term.appender
        sequence = lane.next_sequence
        commit = PendingCommit(
            sequence=sequence,
            replies=replies,
            totals=totals_of(self._state),
            put_at=self._clock.monotonic_ms(),
            finished=self._finishing.finished_by(records),
        )
        durable = lane.append(encode_commit(now_ms, records), len(records))
        self._pipeline.push(commit, durable)
        self._pacing.put()

    def _released(self, commit: PendingCommit) -> None:
        self.totals = commit.totals
        self.sequence = commit.sequence
        self._finishing.notify(commit.finished)
        self._checkpointer.consider()
        self._wake.set()

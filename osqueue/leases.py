"""Keeping leases alive: a thread with its own connection, which no handler can hold up.

It renews each lease when a third of its length has passed, many in one message, carries
progress along, and tells the worker what it learns: a job is cancelled, a lease is lost. A
renewal that is not answered holds up no other: the next goes its own way, over another
connection once one was silent. The keeper also notices a handler that blocks the worker's
event loop, and names it.
"""

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from osqueue.dispatch import HeldUp
from osqueue.errors import BrokerProtocolError, JobNotFoundError, LeaseLostError, OsqueueError
from osqueue.guard import Guard
from osqueue.job import ClaimedJob, Position, Progress
from osqueue.messages import Heartbeat, Release, Renewal
from osqueue.transports.protocol import Transport

log = logging.getLogger("osqueue.worker")

DEFAULT_LEASE_MS = 30_000
"""The queue's own default, for brokers that do not say what they granted."""

RENEW_AFTER = 1 / 3
"""Part of a lease after which it is renewed: two renewals may fail before it is in danger."""

TELL_AFTER = 1 / 2
"""Part of a job's timeout_ms after which the broker is told for how long its handler has run: it counts from the claim
until then, and what was on its way, or stood in line, has not had all of its time."""

BATCH_LEASES = 1_000
TICK_MAX_S = 0.25
CALM_TICK_S = 1.0
"""The tick of a worker that has nothing to do, and will be told when it has."""
TICK_MIN_S = 0.01
CALL_TIMEOUT_MS = 5_000
"""Also where leases are shorter: their renewals do not wait for one another."""
AGAIN_AFTER = 1 / 10
"""Part of a lease after which a renewal that failed is tried again, if that is less than TICK_MAX_S."""
PROGRESS_SPACING_S = 1.0
"""A job's progress is sent at most this often."""


Guest = Callable[[Any], Coroutine[Any, Any, None]]
"""Lives in the keeper's thread; called with the keeper's transport."""


class Holder(Protocol):
    """An attempt that is told about its lease, in the worker's event loop."""

    job: ClaimedJob

    @property
    def in_process(self) -> bool:
        """Its handler runs in a process of its own."""
        ...

    def lease_lost(self) -> None: ...
    def cancel_requested(self) -> None: ...


class KeptLease:
    """One lease under care."""

    __slots__ = (
        "asked_at", "begun_at", "holder", "job", "key", "length_s", "place", "progress", "renew_at", "told_cancelled",
        "turn_s",
    )  # fmt: skip

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.job = holder.job
        self.key = holder.job.lease_token or holder.job.job_id
        self.length_s = (self.job.lease_ms or DEFAULT_LEASE_MS) / 1_000
        self.asked_at = time.monotonic()
        self.turn_s = self.length_s * RENEW_AFTER
        """How long after a renewal the next one is sent."""
        if self.job.timeout_ms:
            self.turn_s = min(self.turn_s, self.job.timeout_ms / 1_000 * TELL_AFTER)
        self.renew_at = self.asked_at + self.turn_s
        self.begun_at: float | None = None
        self.place = -1
        """Where it stands on the guard's board."""
        self.progress: Progress | None = None
        self.told_cancelled = False

    def report(self, progress: Progress) -> None:
        """Send it along soon; only the latest counts."""
        self.progress = progress
        self.renew_at = min(self.renew_at, self.asked_at + PROGRESS_SPACING_S)

    def begins(self) -> None:
        """Its handler begins now. Where its time is limited, the broker is told while there is enough left."""
        self.begun_at = time.monotonic()
        self.renew_at = min(self.renew_at, self.begun_at + self.turn_s)

    def running_ms(self, now: float) -> int | None:
        """For how long its handler has run, where its time is limited."""
        if not self.job.timeout_ms:
            return None
        return 0 if self.begun_at is None else round((now - self.begun_at) * 1_000)

    def asked(self, now: float) -> None:
        """A renewal has been sent."""
        if self.begun_at is not None:
            self.turn_s = self.length_s * RENEW_AFTER  # it is told now, and need not be told again
        self.asked_at = now
        self.renew_at = now + self.turn_s

    def failed(self, now: float) -> None:
        """A renewal came to nothing."""
        self.renew_at = min(self.renew_at, now + min(self.length_s * AGAIN_AFTER, TICK_MAX_S))


class LeaseKeeper:
    """Renews the leases of one worker until stopped. `check_heard` raises at the answer of a leader of the past.

    `on_tick` returns what the worker's loop is too busy to begin; it is given back.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        check_heard: Callable[[Position | None], None],
        on_tick: Callable[[], Iterable[HeldUp]],
        guard: Guard | None = None,
    ) -> None:
        self._make_transport = make_transport
        self._check_heard = check_heard
        self._on_tick = on_tick
        self._guard = guard
        self._board = guard.board if guard is not None else None
        self._give_back_job: Callable[[ClaimedJob, Transport], Awaitable[None]] = release
        self._is_calm: Callable[[], bool] = lambda: False
        self._guests: deque[tuple[Guest, Future[None]]] = deque()
        self._leases: dict[str, KeptLease] = {}
        self._worker_loop = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._sleeps_until = float("inf")
        self._sleeps_calmly = False
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._tells_time = True
        self._thread = threading.Thread(target=self._run, name="osqueue-leases", daemon=True)
        self.renewed = 0
        self.failures = 0

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """End the thread, and the call it may be making."""
        self._stopping = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(self._thread.join)
        if self._guard is not None:
            await asyncio.to_thread(self._guard.close)

    def keep(self, holder: Holder) -> KeptLease:
        """Take a lease into care, until `forget`."""
        kept = KeptLease(holder)
        self._leases[kept.key] = kept
        if self._board is not None:
            job = kept.job
            kept.place = self._board.put(
                job.job_id, kept.key, job.attempt, kept.length_s, kept.asked_at, holder.in_process
            )
        if kept.renew_at < self._sleeps_until:
            self._alarm()
        return kept

    def forget(self, kept: KeptLease) -> None:
        """Its job is settled."""
        if self._leases.pop(kept.key, None) is not None and self._board is not None:
            self._board.take_off(kept.place)

    def begun(self, kept: KeptLease) -> None:
        """Its handler begins now."""
        kept.begins()
        if self._board is not None:
            self._board.begun(kept.place, time.monotonic())
        if kept.renew_at < self._sleeps_until:
            self._alarm()

    def ended(self, kept: KeptLease) -> None:
        """Its handler has ended, and is not what a worker that dies now dies of."""
        if self._board is not None:
            self._board.begun(kept.place, 0.0)

    def host(self, guest: "Guest") -> "Future[None]":
        """Run it in this thread's loop, with this thread's transport. Cancelled when the keeper stops."""
        future: Future[None] = Future()
        self._guests.append((guest, future))
        self._alarm()
        return future

    def calm_while(self, is_calm: Callable[[], bool]) -> None:
        """While this is so and there are no leases, look less often. Whoever knows better calls `look`."""
        self._is_calm = is_calm

    def look(self) -> None:
        """In this thread: something is to be done."""
        if self._wake is not None and self._sleeps_calmly:
            self._wake.set()

    def release_by(self, give_back: Callable[[ClaimedJob, Transport], Awaitable[None]]) -> None:
        """Give jobs back in this way, which is called in this thread."""
        self._give_back_job = give_back

    def notice(self, token: str, lost: bool) -> None:
        """In this thread: the broker said that this lease is lost, or that its job was cancelled."""
        kept = self._leases.get(token)
        if kept is None:
            return
        if lost:
            self.forget(kept)
            self._tell(kept.holder.lease_lost)
        elif not kept.told_cancelled:
            kept.told_cancelled = True
            self._tell(kept.holder.cancel_requested)

    def _alarm(self) -> None:
        """Look now instead of at the next tick. Before the thread's loop runs there is nobody to wake, and no need."""
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # that is how `stop` ends it
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        transport = self._make_transport()
        try:
            while not self._stopping:
                while self._guests:
                    self._call(_attend(*self._guests.popleft(), transport))
                if self._guard is not None:
                    self._guard.tick()
                for held_up in self._on_tick():
                    self._call(self._give_back(transport, held_up))
                for batch in self._due():
                    self._call(self._renew(transport, batch))
                self._wake.clear()
                tick_s = self._tick_s()
                self._sleeps_until = time.monotonic() + tick_s
                try:
                    async with asyncio.timeout(tick_s):
                        await self._wake.wait()
                except TimeoutError:  # the tick is over: that is what we waited for
                    pass
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            await transport.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        call = asyncio.ensure_future(coroutine)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _give_back(self, transport: Transport, held_up: HeldUp) -> None:
        try:
            jobs = await held_up.leased(transport)
            await asyncio.gather(*(self._release(transport, job) for job in jobs))
        except OsqueueError as error:
            log.info("could not ask what a claim has leased; it expires by itself: %s", error)
        self._tell(held_up.given_back)

    async def _release(self, transport: Transport, job: ClaimedJob) -> None:
        try:
            await self._give_back_job(job, transport)
        except OsqueueError as error:
            log.info("could not give back job %s, which expires by itself: %s", job.job_id, error)

    def _due(self) -> Iterator[list[KeptLease]]:
        now = time.monotonic()
        due = [kept for kept in list(self._leases.values()) if kept.renew_at <= now]
        for start in range(0, len(due), BATCH_LEASES):
            yield due[start : start + BATCH_LEASES]

    def _tick_s(self) -> float:
        """Until the next lease is due, or the watchdog."""
        self._sleeps_calmly = not self._leases and self._is_calm()
        if self._sleeps_calmly:
            return CALM_TICK_S
        now = time.monotonic()
        next_s = min((kept.renew_at for kept in list(self._leases.values())), default=float("inf")) - now
        return min(max(next_s, TICK_MIN_S), TICK_MAX_S)

    async def _renew(self, transport: Transport, batch: list[KeptLease]) -> None:
        now = time.monotonic()
        for kept in batch:
            if self._board is not None:
                self._board.asked(kept.place, now)
            kept.asked(now)  # before its progress is read: what is reported from now on is sent in a second
        heartbeats = [
            Heartbeat(
                kept.job.job_id,
                kept.job.worker_id,
                kept.job.lease_token,
                kept.progress,
                kept.running_ms(now) if self._tells_time else None,
            )
            for kept in batch
        ]
        try:
            answers, position = await transport.heartbeat_jobs(heartbeats, timeout_ms=CALL_TIMEOUT_MS)
            self._check_heard(position)
        except OsqueueError as error:  # they are tried again soon, and the leases have time left
            without = ""
            if isinstance(error, BrokerProtocolError) and any(beat.running_ms is not None for beat in heartbeats):
                # A gateway of an earlier release refuses what it does not know: it counts from the claim.
                self._tells_time, without = False, " without the time that they ran"
            self._failed(batch, f"cannot renew {len(batch)} leases, trying on{without}: {error}")
            return
        except Exception:
            log.exception("cannot renew %d leases, trying on without their progress", len(batch))
            for kept in batch:
                kept.progress = None
            self._failed(batch, "")
            return
        self._heard(batch, answers)

    def _heard(self, batch: list[KeptLease], answers: Sequence[Renewal | OsqueueError]) -> None:
        if self._failing:
            log.info("leases are renewed again")
        self._failing = False
        for kept, answer in zip(batch, answers, strict=True):
            if isinstance(answer, (LeaseLostError, JobNotFoundError)):
                self.notice(kept.key, lost=True)
                continue
            if isinstance(answer, OsqueueError):
                self.failures += 1
                log.warning("cannot renew the lease of job %s: %s", kept.job.job_id, answer)
                continue
            self.renewed += 1
            if answer.cancel_requested:
                self.notice(kept.key, lost=False)

    def _failed(self, batch: list[KeptLease], message: str) -> None:
        now = time.monotonic()
        for kept in batch:
            kept.failed(now)
        self.failures += 1
        if message and not self._failing:
            log.warning(message)
        self._failing = True

    def _tell(self, message: Callable[[], None]) -> None:
        if not self._worker_loop.is_closed():
            self._worker_loop.call_soon_threadsafe(message)


async def _attend(guest: Guest, future: "Future[None]", transport: Transport) -> None:
    try:
        await guest(transport)
    except asyncio.CancelledError:
        future.cancel()
        raise
    except BaseException as error:  # noqa: BLE001 - whoever awaits the future hears it
        future.set_exception(error)
    else:
        future.set_result(None)


async def release(job: ClaimedJob, transport: Transport) -> None:
    """Give the job back by a call of its own."""
    released = Release(job.job_id, job.worker_id, job.lease_token, uuid.uuid4().hex)
    await transport.release_job(released, timeout_ms=CALL_TIMEOUT_MS)

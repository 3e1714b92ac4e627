"""The worker: claims jobs, runs their handlers, keeps their leases, and reports what came of them."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from osqueue.apart import Apart
from osqueue.attempts import Attempt, Tally
from osqueue.client import OsqueueClient, asynchronous
from osqueue.dependencies import InjectingRunner
from osqueue.dispatch import Dispatcher, HeldUp, dispatcher
from osqueue.errors import ConfigError
from osqueue.guard import SPARE_PLACES, START_AFTER_S, Guard
from osqueue.handlers import ANY_TYPE, BoundHandler, Handler
from osqueue.hooks import Hooks, Outcome
from osqueue.job import ClaimedJob, JobError
from osqueue.lanes import Lane
from osqueue.leases import LeaseKeeper
from osqueue.messages import Settled
from osqueue.registry import JobType
from osqueue.runners.base import Runner
from osqueue.runners.choosing import runners
from osqueue.timetable import Timetable
from osqueue.watchdog import LoopWatchdog

log = logging.getLogger("osqueue.worker")

P = TypeVar("P")
R = TypeVar("R")

Handlers = Mapping[str | JobType[Any, Any], Callable[..., Any] | Handler] | Mapping[str, Any] | Mapping[Any, Any]

DRAIN_MS = 20_000
GIVE_BACK_MS = 4_000
"""How long a stopping worker waits for its handlers, and then tries to give back what they did not finish: together
less than the 30 s that Kubernetes allows before it kills."""


@dataclass(slots=True, frozen=True)
class WorkerState:
    """What a worker is doing, for people and metrics. Counters start with its `run`."""

    worker_id: str
    status: str
    types: tuple[str, ...]
    slots: int
    busy: int
    job_ids: tuple[str, ...]
    ahead: int
    claimed: int
    completed: int
    failed: int
    released: int
    lost: int
    unsettled: int
    leases_renewed: int
    loop_blocked: int


class Worker(Timetable):
    """Runs handlers for jobs.

        worker = Worker(client, concurrency=50)

        @worker.handler(email)
        async def send(payload: EmailPayload, context: JobContext) -> Receipt: ...

        await worker.run()          # until SIGINT or SIGTERM; or worker.run_sync() outside of a loop

    A handler's return value is the job's result; an exception fails the attempt (`Retry` and `Reject` say more). A lost
    lease cancels the handler.

    `concurrency`: slots for handlers without slots of their own; while handlers are shorter than the way to the broker
    some jobs, at most 100 or as many as there are slots, are claimed ahead. `lease_ms`: length of the leases, 0 for the
    job's.
    `invalid_payload`: "retry" fails the attempt of a job whose payload does not validate; the next one follows after
    5 s, and after twice as long each time, at most 10 min: during a deployment a newer worker may understand it.
    "reject" makes it a dead letter at once.
    `guarded`: a small process beside the worker renews its leases while a handler holds the interpreter's lock, and
    gives its jobs back if it dies; not with a transport of your own.
    `drain_timeout_ms`: how long a stopping worker waits for running handlers before it gives their jobs back.
    `process_max_jobs`, `process_max_mb`: a process of handlers is replaced after this many jobs, or once it holds this
    many MiB of memory (Linux only) at the end of one; 0: never.
    """

    def __init__(
        self,
        client: OsqueueClient,
        handlers: Handlers | None = None,
        *,
        concurrency: int = 10,
        types: Iterable[str | JobType[Any, Any]] | None = None,
        worker_id: str | None = None,
        version: str = "",
        lease_ms: int = 0,
        drain_timeout_ms: int = DRAIN_MS,
        process_max_jobs: int = 0,
        process_max_mb: int = 0,
        invalid_payload: Literal["retry", "reject"] = "retry",
        guarded: bool = True,
        on_claimed: Callable[[ClaimedJob], Outcome] | None = None,
        on_completed: Callable[[ClaimedJob, bytes | None], Outcome] | None = None,
        on_failed: Callable[[ClaimedJob, JobError, Settled], Outcome] | None = None,
        on_lost: Callable[[ClaimedJob], Outcome] | None = None,
    ) -> None:
        self.client = asynchronous(client)
        super().__init__({OsqueueClient: self.client})
        if concurrency < 1:
            raise ConfigError(f"concurrency must be at least 1, got {concurrency}")
        if process_max_jobs < 0 or process_max_mb < 0:
            raise ConfigError("process_max_jobs and process_max_mb must be at least 0, which is without limit")
        self._recycling = process_max_jobs, process_max_mb
        if invalid_payload not in ("retry", "reject"):
            raise ConfigError(f"invalid_payload must be 'retry' or 'reject', got {invalid_payload!r}")
        self.invalid_payload = invalid_payload
        self.concurrency = concurrency
        self.worker_id = worker_id or f"{socket.gethostname()[:64]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.drain_timeout_ms = drain_timeout_ms
        self.hooks = Hooks(on_claimed, on_completed, on_failed, on_lost)
        self.tally = Tally()
        self.dispatcher: Dispatcher
        self._introduction = lease_ms, version
        self._guarded = guarded
        self.keeper: LeaseKeeper
        self.apart: Apart
        self._only = None if types is None else {self._name(kind) for kind in types}
        self._runners: dict[str, Runner] = {}
        self._lanes: list[Lane] = []
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._stopping: asyncio.Event | None = None
        self._draining_since = 0.0
        self._watchdog: LoopWatchdog | None = None
        for job_type, handler in (handlers or {}).items():
            self.add(job_type, handler)

    # --- running -----------------------------------------------------------------------------------------------------

    def run_sync(self, *, until_idle: bool = False) -> None:
        """`run`, from where no event loop runs."""
        asyncio.run(self._run_and_close(until_idle))

    async def run(self, *, until_idle: bool = False, handle_signals: bool = True) -> None:
        """Work until `stop`, SIGINT or SIGTERM; with `until_idle`, until no job is ready and none runs.

        Then claim no more, wait for the running handlers, at most `drain_timeout_ms`, and give back what they did not
        finish; a second signal cuts the waiting short. Raises what makes work impossible, such as `AuthError`.
        """
        if self._status != "idle":
            raise ConfigError("the worker runs already")
        await self.put_schedules()
        self._status = "starting"
        try:
            self.dependencies.check(self._active().values())
            await self.dependencies.open()
            await self._run(until_idle, handle_signals)
        finally:
            await self.dependencies.close()
            self._status = "idle"

    async def _run(self, until_idle: bool, handle_signals: bool) -> None:
        self._prepare(until_idle)
        self.keeper.start()
        assert self._stopping is not None
        claiming = [asyncio.ensure_future(lane.run(until_idle=until_idle)) for lane in self._lanes]
        stopping = asyncio.ensure_future(self._stopping.wait())
        log.info("worker %s takes %s", self.worker_id, ", ".join(self._types()) or "jobs of any type")
        try:
            with self._signals() if handle_signals else contextlib.nullcontext():
                try:
                    await self._until_over(claiming, stopping)
                finally:
                    self._status = "draining"
                    await self._drain(claiming)
        finally:
            stopping.cancel()
            await self._end()
        for claims in claiming:
            if not claims.cancelled() and (error := claims.exception()) is not None:
                raise error

    def stop(self) -> None:
        """Begin to drain; `run` returns when that is done. Called again: give everything back now."""
        if self._stopping is None:
            return
        if self._stopping.is_set():
            self._abandon()
        self._stopping.set()

    def state(self) -> WorkerState:
        """What the worker is doing. From any thread."""
        tally = self.tally
        return WorkerState(
            worker_id=self.worker_id,
            status=self._status,
            types=self._types(),
            slots=sum(lane.capacity for lane in self._lanes),
            busy=sum(lane.busy for lane in self._lanes),
            job_ids=tuple([attempt.job.job_id for attempt in list(self._attempts.values())]),
            ahead=sum(len(lane.ready) for lane in self._lanes),
            claimed=tally.claimed,
            completed=tally.completed,
            failed=tally.failed,
            released=tally.released,
            lost=tally.lost,
            unsettled=tally.unsettled,
            leases_renewed=self.keeper.renewed if self._watchdog is not None else 0,
            loop_blocked=self._watchdog.blocked if self._watchdog is not None else 0,
        )

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _run_and_close(self, until_idle: bool) -> None:
        async with self.client:
            await self.run(until_idle=until_idle)

    def _prepare(self, until_idle: bool) -> None:
        handlers = self._active()
        if not handlers:
            raise ConfigError("the worker has no handlers: give it a map of them, or use @worker.handler(...)")
        for handler in handlers.values():
            handler.job_type.check()
        self._status = "running"
        self.tally = Tally()
        self._stopping = asyncio.Event()
        self._watchdog = LoopWatchdog(self._describe_task)
        guard = self._guard(handlers.values(), START_AFTER_S if until_idle else 0) if self._guarded else None
        self.apart = Apart(guard.suspects if guard is not None else None)
        self.keeper = LeaseKeeper(self.client.new_transport, self.client._open().heard, self._check, guard)
        self.dispatcher = dispatcher(self.client, self.worker_id, *self._introduction, self.keeper)
        own = {name: handler.concurrency for name, handler in handlers.items() if handler.concurrency is not None}
        shared = [name for name in handlers if name not in own]
        if ANY_TYPE in shared and own:
            raise ConfigError("with a handler for any type, no other handler can have slots of its own")
        self._lanes = [Lane([name], slots, self.dispatcher, self._hold, self._start) for name, slots in own.items()]
        if shared:
            types = [] if ANY_TYPE in shared else shared
            self._lanes.append(Lane(types, self.concurrency, self.dispatcher, self._hold, self._start))
        self._runners = runners(handlers.values(), self.concurrency, *self._recycling)

    def _guard(self, handlers: Iterable[BoundHandler], after_s: float) -> Guard:
        places = 2 * (self.concurrency + sum(handler.concurrency or 0 for handler in handlers)) + SPARE_PLACES
        return Guard(self.worker_id, places, self.client._reached_by_others, after_s)

    def _check(self) -> Iterable[HeldUp]:
        """In the keeper's thread: whether the loop turns, and what should not wait for it."""
        assert self._watchdog is not None
        self._watchdog.check()
        if self._watchdog.held_up:
            for lane in self._lanes:
                yield from lane.waiting()
            yield from [attempt for attempt in list(self._attempts.values()) if attempt.withdraw()]
            yield from self.dispatcher.held_up()

    def _hold(self, job: ClaimedJob, lane: Lane) -> Attempt:
        handler = self._handlers.get(job.type) or self._handlers[ANY_TYPE]
        self.tally.claimed += 1
        runner = self._runners[handler.runs_in]
        if handler.injected:
            runner = InjectingRunner(runner, self.dependencies)
        return Attempt(job, handler, runner, self, lane.slot_freed, lane.settled)

    def _start(self, attempt: Attempt, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(self._attend(attempt, lane))
        attempt.task = task
        self._attempts[task] = attempt

    async def _attend(self, attempt: Attempt, lane: Lane) -> None:
        try:
            if self.hooks.on_claimed is not None:
                await self.hooks.claimed(attempt.job)
            await attempt.run()
        finally:
            del self._attempts[asyncio.current_task()]  # type: ignore[arg-type]
            lane.settled()

    async def _until_over(self, claiming: Sequence["asyncio.Future[None]"], stopping: "asyncio.Future[Any]") -> None:
        """Until told to stop, or all lanes are idle, or one cannot claim."""
        pending: set[asyncio.Future[Any]] = {stopping, *claiming}
        while stopping in pending and len(pending) > 1:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(claims in done and claims.exception() is not None for claims in claiming):
                return

    async def _drain(self, claiming: Sequence["asyncio.Future[None]"]) -> None:
        self._draining_since = time.monotonic()
        for claims in claiming:
            claims.cancel()
        for lane in self._lanes:
            lane.give_back()
        if self._attempts:
            log.info("worker %s waits for %d running jobs", self.worker_id, len(self._attempts))
            await asyncio.wait(list(self._attempts), timeout=self.drain_timeout_ms / 1_000)
        self._abandon()
        leftover = [task for task in (*self._attempts, *claiming) if not task.done()]
        if leftover:
            await asyncio.wait(leftover, timeout=GIVE_BACK_MS / 1_000)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)

    def _abandon(self) -> None:
        for attempt in list(self._attempts.values()):
            attempt.drain()

    async def _end(self) -> None:
        for runner in self._runners.values():
            await runner.close()
        spent_s = time.monotonic() - self._draining_since
        await self.dispatcher.close(max(0.0, min(self.drain_timeout_ms, GIVE_BACK_MS) / 1_000 - spent_s))
        await self.keeper.stop()
        self._stopping = None
        self._status = "idle"
        log.info("worker %s is done: %d completed, %d failed, %d given back", self.worker_id, self.tally.completed,
                 self.tally.failed, self.tally.released)  # fmt: skip

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM drain, where that can be arranged: in the main thread, on systems that have it."""
        loop = asyncio.get_running_loop()
        taken = []
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self.stop)
            except (NotImplementedError, RuntimeError, ValueError):  # not the main thread: whoever owns it calls stop()
                continue
            taken.append(number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    def _active(self) -> dict[str, BoundHandler]:
        if self._only is None:
            return self._handlers
        missing = self._only - set(self._handlers)
        if missing and ANY_TYPE not in self._handlers:
            raise ConfigError(f"there is no handler for {', '.join(sorted(missing))}")
        return {name: handler for name, handler in self._handlers.items() if name in self._only}

    def _types(self) -> tuple[str, ...]:
        return tuple(name for lane in self._lanes for name in lane.types)

    def _describe_task(self, task: "asyncio.Task[object] | None") -> str:
        attempt = self._attempts.get(task) if task is not None else None  # type: ignore[arg-type]
        if attempt is None:
            return "something in this process"
        name = getattr(attempt.handler.function, "__qualname__", "handler")
        return f"the handler {name} of job {attempt.job.job_id} ({attempt.job.type})"

"""A queue in the process of a test."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from osqueue import Job, JobType, OsqueueClient, Registry, SyncClient, Worker
from osqueue.job import FINISHED_STATUSES, LIVE_STATUSES
from osqueue_service.app import App
from osqueue_service.engine.engine import Engine
from osqueue_service.state.commands import ResumeTypes
from osqueue_service.testing.in_process import BrokerThread
from osqueue_testing.clock import StandingClock
from osqueue_testing.expecting import ANYTHING, describe, matches, shown
from osqueue_testing.running import Handlers, Ran, crew, run_until_idle

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class InProcessQueue:
    """A broker on a port of this machine, in a thread of this process, with a queue in memory and a clock of its own.

        with InProcessQueue() as queue:
            client = OsqueueClient(queue.url)

    It is the broker that runs in production: what it refuses here it refuses there. But its time stands still until
    `advance`, `advance_to` or `run_through` moves it. Leases, delays, backoff, limits of attempts and retention follow
    that time; how long callers wait for an answer is real time, as ever.

    `registry` is for the clients and workers made here; `starts_at`, by default now, is the time it begins with; `port`
    is a port to listen on, by default a free one; `settings` are those of a broker's environment, by name. Methods that
    are not coroutines may be called from tests with and without an event loop.
    """

    __test__ = False

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        starts_at: datetime | None = None,
        port: int = 0,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.registry = registry if registry is not None else Registry()
        self._clock = StandingClock(_epoch_ms(starts_at or datetime.now(UTC)))
        listening = {"BROKER_GRPC_PORT": str(port)}
        self._broker = BrokerThread(settings={**listening, **(settings or {})}, queue_clock=self._clock)
        self._observer: SyncClient | None = None
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> Self:
        """Begin to serve, where `with` does not fit; `close` ends it."""
        self._broker.__enter__()
        self._observer = self.sync_client()
        return self

    def close(self) -> None:
        """End the broker, and with it the queue."""
        if self._runner is not None:
            self._runner.close()
        if self._observer is not None:
            self._observer.close()
        self._broker.__exit__(None, None, None)

    # --- clients -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What a client takes as its address, or finds in BROKER_URL."""
        return f"grpc://{self._broker.address}"

    def client(self, **options: Any) -> OsqueueClient:
        """A client of this queue; yours to close."""
        return OsqueueClient(self.url, **{"registry": self.registry, **options})

    def sync_client(self, **options: Any) -> SyncClient:
        """A synchronous client of this queue; yours to close."""
        return SyncClient(self.url, **{"registry": self.registry, **options})

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The queue's time."""
        return _EPOCH + timedelta(milliseconds=self._clock.wall_ms())

    def advance(self, by: timedelta = timedelta(), **parts: float) -> None:
        """Move time on, by a timedelta or by what makes one: `advance(hours=1, minutes=30)`.

        Everything that becomes due on the way happens at its moment, and is durable when this returns. `ValueError`
        when it would go back.
        """
        self.advance_to(self.now + by + timedelta(**parts))

    def advance_to(self, moment: datetime) -> None:
        """Move time on to a moment; `ValueError` when that has passed."""
        end_ms = self._future_ms(moment)
        while self._step(end_ms):
            pass

    # --- what was enqueued -------------------------------------------------------------------------------------------

    def enqueued(self, job_type: str | JobType[Any, Any] | None = None, *, matching: Any = ANYTHING) -> list[Job]:
        """The jobs that were enqueued and are not forgotten, oldest first, whatever became of them.

        `matching` is a mapping, met by payloads that have all of it: `{"to": "ada@example.org"}`; or a function, met by
        payloads that it returns true for; or else what the payload must be equal to.
        """
        name = _name(job_type)
        return [
            job
            for job in self._jobs()
            if name in ("", job.type) and matches(job, self.registry.get(job_type or job.type), matching)
        ]

    def assert_enqueued(
        self, job_type: str | JobType[Any, Any], *, matching: Any = ANYTHING, count: int | None = None
    ) -> list[Job]:
        """Such jobs were enqueued: `count` of them, or at least one. Returns them, for a closer look.

        The `AssertionError` says what was enqueued instead. Finished jobs are forgotten when their retention is over,
        an hour by default: where that leaves the number unknown, it says so.
        """
        found = self.enqueued(job_type, matching=matching)
        if count is None:
            if found:
                return found
            self._complain(job_type, matching, "was never enqueued")
        if len(found) != count:
            self._complain(job_type, matching, f"was enqueued {len(found)} times, not {count}")
        if self._forgotten():
            self._complain(job_type, matching, f"was enqueued {count} times, as far as can be seen")
        return found

    def assert_not_enqueued(self, job_type: str | JobType[Any, Any] | None = None, *, matching: Any = ANYTHING) -> None:
        """No such job was enqueued; without a type, none at all."""
        found = self.enqueued(job_type, matching=matching)
        if found:
            self._complain(job_type, matching, f"was enqueued {len(found)} times")
        if self._forgotten():
            self._complain(job_type, matching, "was not enqueued, as far as can be seen")

    # --- work --------------------------------------------------------------------------------------------------------

    async def run_until_idle(self, *workers: Worker | Handlers) -> Ran:
        """Run workers, or maps from job types to handlers, until no job of theirs is ready. Time stands still.

        What handlers enqueue is done too, and what fails is tried again, unless it is to wait. A handler that fails
        fails its job and not the test: look at the answer.
        """
        ran = Ran()
        async with crew(workers, self.client()) as team:
            await run_until_idle(team, ran)
        return ran

    async def run_through(self, by: timedelta, *workers: Worker | Handlers) -> Ran:
        """`advance(by)` with these workers at work: delayed jobs and retries are done at their moment."""
        ran = Ran()
        end_ms = self._future_ms(self.now + by)
        async with crew(workers, self.client()) as team:
            await run_until_idle(team, ran)
            while self._step(end_ms):
                if self._own().get_stats().counts.unclaimed:
                    await run_until_idle(team, ran)
        return ran

    def run_until_idle_sync(self, *workers: Worker | Handlers) -> Ran:
        """`run_until_idle`, for tests without an event loop."""
        return self._run(self.run_until_idle(*workers))

    def run_through_sync(self, by: timedelta, *workers: Worker | Handlers) -> Ran:
        """`run_through`, for tests without an event loop."""
        return self._run(self.run_through(by, *workers))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _own(self) -> SyncClient:
        if self._observer is None:
            raise RuntimeError("the queue is not started: use it in a `with` statement, or call start()")
        return self._observer

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:  # one loop for all runs, so that a worker's client can stay connected
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def _step(self, end_ms: int) -> bool:
        """Move time to the next thing that is due, or to the end; whether the end is still to come."""
        return self._broker.run(lambda app: self._move(app, end_ms))

    async def _move(self, app: App, end_ms: int) -> bool:
        due_ms = self._clock.next_ms()
        to_ms = end_ms if due_ms is None else min(due_ms, end_ms)
        self._clock.move_to(to_ms)
        await _settle(app.broker.engine)
        return to_ms < end_ms

    def _future_ms(self, moment: datetime) -> int:
        wall_ms = _epoch_ms(moment)
        if wall_ms < self._clock.wall_ms():
            raise ValueError(f"the queue's time is {self.now.isoformat()}; it cannot go back to {moment.isoformat()}")
        return wall_ms

    def _jobs(self) -> list[Job]:
        return list(self._own().list_jobs(statuses=(*LIVE_STATUSES, *FINISHED_STATUSES), view="full"))

    def _forgotten(self) -> str:
        """What to add to a message when jobs are gone."""
        forgotten = self._own().get_stats().counts.submitted_total - len(self._jobs())
        if not forgotten:
            return ""
        return (
            f"\n{forgotten} more jobs were enqueued and are forgotten by now: ask before they finish and their "
            "retention is over, or give them a longer retention_ms."
        )

    def _complain(self, job_type: str | JobType[Any, Any] | None, matching: Any, problem: str) -> None:
        raise AssertionError(
            f"{describe(_name(job_type), matching)} {problem}. {shown(self._jobs())}{self._forgotten()}"
        )


async def _settle(engine: Engine) -> None:
    """Return when nothing is left to do at this moment. Every command goes through a commit, and a commit does first
    what is due; so once a command that changes nothing has found nothing to commit, that is so."""
    before = -1
    while before != engine.sequence:
        before = engine.sequence
        await engine.execute(ResumeTypes([]))


def _name(job_type: str | JobType[Any, Any] | None) -> str:
    if job_type is None:
        return ""
    return job_type.name if isinstance(job_type, JobType) else job_type


def _epoch_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("the datetime has no time zone; use datetime.now(timezone.utc) or .astimezone()")
    return (moment - _EPOCH) // _MILLISECOND

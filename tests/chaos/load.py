"""Producers and workers that keep a queue busy. A job's payload says how it is treated, sometimes wrongly."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from osqueue import BrokerLeadershipError, ClaimedJob, JobSpec, LeaseLostError, OsqueueClient, OsqueueError, new_job
from tests.chaos.bell import Bell
from tests.chaos.recording import RecordingTransport
from tests.checkers.history import OK, Event, History

LEASE_MS = 2_000
"""Short, so that what was left lying is handed out again within a run."""

MANNERS = {
    "complete": 12,
    "fail once": 3,
    "release once": 2,
    "vanish once": 1,
    "complete twice": 2,
    "die": 1,
}
"""What a worker does with a job, and how often a producer asks for it."""

CLAIM_JOBS = 10
STATS_EVERY_S = 0.1
PAUSE_S = 0.03


class Load:
    """Runs inside `async with`; `drain` ends it in order."""

    def __init__(
        self,
        addresses: Sequence[str],
        bell: Bell,
        rng: random.Random,
        *,
        producers: int = 3,
        workers: int = 4,
        batch: int = 5,
    ) -> None:
        self.history = History()
        self.jobs_left: int | None = None
        """Live jobs by the last statistics."""
        self.completed = 0
        """Jobs ever completed, by the last statistics."""
        self._addresses = addresses
        self._bell = bell
        self.rng = rng
        self._batch = batch
        self._producers = producers
        self._workers = workers
        self._enough = asyncio.Event()
        self._open: list[OsqueueClient | RecordingTransport] = []
        self._producing: list[asyncio.Task[None]] = []
        self._working: list[asyncio.Task[None]] = []
        self._tokens: dict[str, list[ClaimedJob]] = {}
        self._acknowledged: Counter[int] = Counter()
        self.first_acknowledged: dict[int, Event] = {}
        self._last_acknowledged: dict[int, Event] = {}
        """The first answer of each epoch that said that something is durable."""

    async def __aenter__(self) -> "Load":
        loop = asyncio.get_running_loop()
        for number in range(self._producers):
            self._producing.append(loop.create_task(self._produce(f"producer-{number}")))
        for number in range(self._workers):
            self._working.append(loop.create_task(self._work(f"worker-{number}")))
        self._working.append(loop.create_task(self._watch("watcher")))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._enough.set()
        for task in (*self._producing, *self._working):
            task.cancel()
        await asyncio.gather(*self._producing, *self._working, return_exceptions=True)
        for each in self._open:
            await each.close()

    def client(self, process: str, addresses: Sequence[str] = ()) -> OsqueueClient:
        """A client whose calls are recorded as those of `process`."""
        transport = RecordingTransport(process, addresses or self._addresses, self.history, self.ended)
        client = OsqueueClient(transport=transport, timeout_ms=2_000, retry_delay_ms=100)
        self._open.append(client)
        return client

    def transport(self, process: str, addresses: Sequence[str]) -> RecordingTransport:
        """Recorded calls without retries, to these brokers only."""
        transport = RecordingTransport(process, addresses, self.history, self.ended)
        self._open.append(transport)
        return transport

    async def refusal_of(self, address: str) -> BrokerLeadershipError:
        """What this broker, which does not lead, says to a call."""
        transport = self.transport("caller", [address])
        try:
            await transport.get_stats(linearizable=False, timeout_ms=2_000)
        except BrokerLeadershipError as refusal:
            return refusal
        raise AssertionError(f"{address} served a call, though it does not lead")

    # --- what a scenario waits for ------------------------------------------------------------------------------------

    def acknowledged(self, epoch: int = 0) -> int:
        """How many answers said that a submission or completion is durable, in this epoch or later."""
        return sum(count for each, count in self._acknowledged.items() if each >= epoch)

    def silence_s(self, epoch: int, since_s: float) -> float:
        """Seconds without an answer between this epoch and the next, from this moment on at the earliest."""
        last_s = self._last_acknowledged[epoch].returned / 1_000 if epoch in self._last_acknowledged else since_s
        first_s = min(event.returned for each, event in self.first_acknowledged.items() if each > epoch) / 1_000
        return first_s - max(last_s, since_s)

    async def flow(self, count: int, limit_s: float, *, epoch: int = 0) -> None:
        """Return once `count` more submissions and completions have been acknowledged."""
        self._failed_early()
        goal = self.acknowledged(epoch) + count
        what = f"{count} acknowledgements of epoch {epoch} or later"
        await self._bell.until(lambda: self.acknowledged(epoch) >= goal, what, limit_s)

    @property
    def enough(self) -> bool:
        """Whether nothing more is to be submitted."""
        return self._enough.is_set()

    def add_producer(self, producing: Coroutine[None, None, None]) -> None:
        """One more, which ends by itself when there is enough."""
        self._producing.append(asyncio.get_running_loop().create_task(producing))

    async def until_completed(self, count: int, limit_s: float) -> None:
        """Return once `count` more jobs have been completed, by the statistics."""
        goal = self.completed + count
        await self._bell.until(lambda: self.completed >= goal, f"{count} more jobs to be completed", limit_s)

    async def drain(self, limit_s: float) -> None:
        """Submit no more, and return once every job has come to its end."""
        self._enough.set()
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*self._producing)
        self.jobs_left = None
        await self._bell.until(lambda: self.jobs_left == 0, "every job to come to its end", limit_s)
        self._failed_early()

    def _failed_early(self) -> None:
        for task in (*self._producing, *self._working):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def ended(self, event: Event) -> None:
        """An attempt came to its end."""
        if event.outcome == OK and event.operation in ("submit", "complete"):
            self._acknowledged[event.epoch] += 1
            self.first_acknowledged.setdefault(event.epoch, event)
            self._last_acknowledged[event.epoch] = event
        self._bell.ring()

    # --- the tasks ---------------------------------------------------------------------------------------------------

    async def _produce(self, name: str) -> None:
        client, rng = self.client(name), random.Random(self.rng.random())
        number = 0
        while not self._enough.is_set():
            jobs = [self._job(name, number + offset, rng) for offset in range(rng.randint(1, self._batch))]
            number += len(jobs)
            with suppress(OsqueueError):  # it is in the history
                await client.submit_jobs(jobs)
            await asyncio.sleep(PAUSE_S)

    @staticmethod
    def _job(name: str, number: int, rng: random.Random) -> JobSpec:
        (manner,) = rng.choices(list(MANNERS), MANNERS.values())
        key = f"{name}-{number}" if rng.random() < 0.5 else ""
        return new_job(
            "work", {"n": f"{name}-{number}", "do": manner}, max_attempts=2 if manner == "die" else 5,
            lease_ms=LEASE_MS, idempotency_key=key,
        )  # fmt: skip

    async def _work(self, name: str) -> None:
        client = self.client(name)
        while True:
            jobs: list[ClaimedJob] = []
            with suppress(OsqueueError):
                jobs = await client.claim_jobs(name, max_jobs=CLAIM_JOBS, wait_ms=500)
            await asyncio.gather(*(self._settle(client, job) for job in jobs))

    async def _settle(self, client: OsqueueClient, job: ClaimedJob) -> None:
        manner = job.value()["do"]
        before = self._tokens.setdefault(job.job_id, [])
        first = not before
        before.append(job)
        with suppress(OsqueueError):
            if not first:
                await self._try_stale(client, before[-2])
            if manner == "die" or (manner == "fail once" and first):
                await client.fail_job(job, "by plan", retry_delay_ms=50)
            elif manner == "release once" and first:
                await client.release_job(job)
            elif manner == "vanish once" and first:
                pass
            else:
                await client.complete_job(job, {"by": job.worker_id})
                if manner == "complete twice":
                    await client.complete_job(job, {"by": job.worker_id})

    @staticmethod
    async def _try_stale(client: OsqueueClient, job: ClaimedJob) -> None:
        """Complete an earlier attempt of a job that somebody holds anew."""
        with suppress(LeaseLostError):
            await client.complete_job(job, {"by": "a ghost"})

    async def _watch(self, name: str) -> None:
        client = self.client(name)
        while True:
            with suppress(OsqueueError):
                counts = (await client.get_stats()).counts
                self.jobs_left, self.completed = counts.total, counts.completed_total
            self._bell.ring()
            await asyncio.sleep(STATS_EVERY_S)

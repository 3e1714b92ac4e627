"""What the bucket is asked to hold and to answer: checkpoints beside commits, bytes, requests, dollars.

Engine over the memory store, with the latency of a store injected where it matters.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

from msgspec import msgpack

from benchmarks.brokers import JOB_BYTES, fill, leading_broker, random_jobs
from benchmarks.report import Report
from osqueue_service.broker import Broker
from osqueue_service.clock import SystemClock
from osqueue_service.engine.engine import Engine
from osqueue_service.state.commands import Claim, Complete, CompleteItem, Submit
from osqueue_service.storage.backends import price_tables
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.operations import Operation

CHECKPOINT_JOBS = 1_000_000
PUT_MS = 5.0
P99_RATIO_MAX = 2.0
STANDING_JOBS = 100_000
BYTES_RATIO_MAX = 5.0

CLOUD_PUT_MS = 100.0
CLOUD_READ_MS = 30.0
"""About what a request to S3 from the same region takes."""

_BATCH = 100
_CALLERS = 8
_FULL_CALLERS = 64
_ROUNDS = 3
_QUIET_S = 3.0
_FULL_LOAD_S = 10.0
_TRICKLE_S = 20.0
_SETTLED_S = 10.0
"""How long without commits until a standby looks as rarely as it ever does."""
_IDLE_S = 20.0
_MONTH_S = 30 * 86_400
_MILLION = 1_000_000


# --- commits beside a checkpoint -------------------------------------------------------------------------------------


async def _latencies(engine: Engine, enough: Callable[[], bool]) -> list[float]:
    """Milliseconds of every submit of eight callers in a closed loop, until there is enough."""
    took: list[float] = []

    async def caller() -> None:
        while not enough():
            began = time.perf_counter()
            await engine.execute(Submit(random_jobs(1)))
            took.append((time.perf_counter() - began) * 1_000)

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return took


def _p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


async def _until_checkpointing(engine: Engine) -> None:
    """Change jobs until a checkpoint of them all is due."""
    while not engine.checkpointing:
        granted = await engine.claim(Claim("bench", max_jobs=1_000))
        done = [CompleteItem(job.job_id, "bench", job.token) for job in granted]
        await asyncio.gather(engine.execute(Complete(done)), engine.execute(Submit(random_jobs(1_000))))


async def _commits_beside_a_checkpoint(report: Report) -> None:
    store = MemoryStore(put_ms=PUT_MS)
    async with leading_broker(store) as broker:
        engine = broker.engine
        await fill(engine, CHECKPOINT_JOBS)
        ratios, longest = [], 0.0
        for _ in range(_ROUNDS):
            await _until_checkpointing(engine)
            began = time.perf_counter()
            beside = await _latencies(engine, lambda: not engine.checkpointing)
            longest = max(longest, time.perf_counter() - began)
            until = time.perf_counter() + _QUIET_S
            without = await _latencies(engine, lambda end=until: time.perf_counter() > end)
            report.note(f"p99 of a submit {_p99(beside):.1f} ms beside a checkpoint, {_p99(without):.1f} ms without")
            ratios.append(_p99(beside) / _p99(without))
    report.figure(f"a checkpoint of {CHECKPOINT_JOBS:,} jobs took at most", longest, "s")
    report.figure(
        f"p99 of commits beside it / without, median of {_ROUNDS}", median(ratios), "x", at_most=P99_RATIO_MAX
    )


# --- bytes -----------------------------------------------------------------------------------------------------------


async def _cycle(engine: Engine, worker: str, count: int = _BATCH) -> None:
    """Submit, claim and complete `count` jobs."""
    await engine.execute(Submit(random_jobs(count)))
    left = count
    while left:
        granted = await engine.claim(Claim(worker, max_jobs=left), wait_ms=10_000)
        await engine.execute(Complete([CompleteItem(job.job_id, worker, job.token) for job in granted]))
        left -= len(granted)


async def _bytes_per_job(report: Report) -> None:
    store = InstrumentedStore(MemoryStore(), SystemClock())
    encoded = len(msgpack.encode(random_jobs(1)[0]))
    async with leading_broker(store) as broker:
        engine = broker.engine
        await fill(engine, STANDING_JOBS)
        # Until as many finished jobs are kept as ever will be, and then from one checkpoint to the next.
        cycles = 0
        while cycles < engine.limits.finished_jobs:
            await _cycle(engine, "bench")
            cycles += _BATCH
        await _next_checkpoint(broker)
        before, cycles = _bytes_written(store), 0
        checkpoints = broker.counters.checkpoints
        while broker.counters.checkpoints == checkpoints:
            await _cycle(engine, "bench")
            cycles += _BATCH
        written = (_bytes_written(store) - before) / cycles
    report.note(f"{cycles:,} jobs from one checkpoint to the next, a job encoded is {encoded} bytes")
    report.figure(f"bytes written per full cycle at {STANDING_JOBS:,} waiting, checkpoints included", written, "bytes")
    report.figure("the same / the job's encoded size", written / encoded, "x", at_most=BYTES_RATIO_MAX)


async def _next_checkpoint(broker: Broker) -> None:
    checkpoints = broker.counters.checkpoints
    while broker.counters.checkpoints == checkpoints:
        await _cycle(broker.engine, "bench")


def _bytes_written(store: InstrumentedStore) -> int:
    operations = store.usage.operations
    return operations[Operation.PUT_IF_ABSENT].bytes + operations[Operation.PUT_IF_VERSION].bytes


# --- requests and dollars --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Requests:
    """Requests of each kind in a time."""

    counts: dict[Operation, int]
    seconds: float

    def prices(self, times: float) -> str:
        """What `times` times these requests cost, by each price table."""
        dollars = {
            table: times * sum(count * prices.of(kind) for kind, count in self.counts.items()) / _MILLION
            for table, prices in price_tables().items()
            if table != "none"
        }
        return ", ".join(f"{table} ${price:,.4f}" for table, price in dollars.items())

    def __str__(self) -> str:
        return ", ".join(f"{count / self.seconds:,.2f} {kind.value}/s" for kind, count in self.counts.items() if count)


@asynccontextmanager
async def _cloud() -> AsyncIterator["_Cloud"]:
    """A leader and a standby with default heartbeats on one new bucket, as far away as S3."""
    bucket = MemoryBucket()
    stores = [
        InstrumentedStore(MemoryStore(bucket, put_ms=CLOUD_PUT_MS, read_ms=CLOUD_READ_MS), SystemClock())
        for _ in range(2)
    ]
    async with leading_broker(stores[0]) as leader, leading_broker(stores[1], stand_by=True):
        yield _Cloud(leader.engine, stores)


@dataclass(frozen=True)
class _Cloud:
    engine: Engine
    stores: list[InstrumentedStore]

    async def measure(self, seconds: float, load: Coroutine[None, None, None]) -> tuple[_Requests, int]:
        """What both brokers ask of the bucket while the load runs, and how many jobs were completed."""
        asked, completed, began = self._asked(), self._completed(), time.perf_counter()
        task = asyncio.ensure_future(load)
        await asyncio.wait({task}, timeout=seconds)
        counts = {kind: count - asked[kind] for kind, count in self._asked().items()}
        requests, jobs = _Requests(counts, time.perf_counter() - began), self._completed() - completed
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return requests, jobs

    def _asked(self) -> dict[Operation, int]:
        return {kind: sum(store.usage.operations[kind].requests for store in self.stores) for kind in Operation}

    def _completed(self) -> int:
        return self.engine.views.totals.counters.completed


async def _full_load(engine: Engine) -> None:
    async def caller(name: str) -> None:
        while True:
            await _cycle(engine, name)

    await asyncio.gather(*(caller(f"w{number}") for number in range(_FULL_CALLERS)))


async def _trickle(engine: Engine) -> None:
    """A job every second, and a worker that waits for it."""

    async def work() -> None:
        while True:
            for job in await engine.claim(Claim("w", max_jobs=1), wait_ms=30_000):
                await engine.execute(Complete([CompleteItem(job.job_id, "w", job.token)]))

    async def produce() -> None:
        while True:
            await asyncio.gather(engine.execute(Submit(random_jobs(1))), asyncio.sleep(1))

    await asyncio.gather(work(), produce())


async def _idle(engine: Engine) -> None:
    await asyncio.Event().wait()


async def _requests_and_dollars(report: Report) -> None:
    loads = (("at full load", _FULL_LOAD_S, _full_load), ("at one per second", _TRICKLE_S, _trickle))
    for name, seconds, load in loads:
        async with _cloud() as cloud:
            asked, jobs = await cloud.measure(seconds, load(cloud.engine))
        report.note(f"{name}: {jobs / asked.seconds:,.0f} jobs/s; {asked}")
        report.figure(f"requests per 1,000 jobs {name}", sum(asked.counts.values()) / jobs * 1_000, "requests")
        report.note(f"a million jobs {name}: {asked.prices(_MILLION / jobs)}")
    async with _cloud() as cloud:
        await asyncio.sleep(_SETTLED_S)
        asked, _ = await cloud.measure(_IDLE_S, _idle(cloud.engine))
    report.note(f"idle, a leader and a standby: {asked}")
    report.note(f"an idle month: {asked.prices(_MONTH_S / asked.seconds)}")


def run(report: Report) -> None:
    report.title(f"Checkpoints, bytes, requests and dollars (jobs of {JOB_BYTES} bytes)")
    asyncio.run(_commits_beside_a_checkpoint(report))
    asyncio.run(_bytes_per_job(report))
    asyncio.run(_requests_and_dollars(report))

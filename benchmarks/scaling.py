"""Nothing may cost more because the queue is long: 1,000, 100,000 and 1,000,000 waiting jobs."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.brokers import fill, leading_broker, random_jobs
from benchmarks.report import Report
from osqueue_service.broker import Broker
from osqueue_service.engine.engine import Engine
from osqueue_service.state.commands import Claim, Complete, CompleteItem, Submit
from osqueue_service.storage.memory import MemoryStore

DEPTHS = (1_000, 100_000, 1_000_000)
_BATCH = 100
_ROUNDS = 200
_BEST_OF = 5


def _segment_bytes(broker: Broker) -> int:
    """Bytes of segments appended in this term; checkpoints are counted by their own benchmark."""
    return broker.engine.term.appender.appended.log_bytes


async def _submit(engine: Engine) -> None:
    for _ in range(_ROUNDS):
        await engine.execute(Submit(random_jobs(_BATCH)))


async def _work(engine: Engine) -> None:
    for _ in range(_ROUNDS):
        granted = await engine.claim(Claim("bench", max_jobs=_BATCH))
        await engine.execute(Complete([CompleteItem(job.job_id, "bench", job.token) for job in granted]))


async def _cpu_per_job(engine: Engine) -> tuple[float, float]:
    """Seconds of CPU per job, of a submit and of a claim with its completion: each the best of several windows in
    which no checkpoint was written (those are amortised below). They take turns, so that the queue keeps its length."""
    windows: dict[Callable[[Engine], Awaitable[None]], list[float]] = {_submit: [], _work: []}
    while min(map(len, windows.values())) < _BEST_OF:
        for operation, took in windows.items():
            undisturbed = not engine.checkpointing
            began = time.process_time()
            await operation(engine)
            if undisturbed and not engine.checkpointing:
                took.append((time.process_time() - began) / (_ROUNDS * _BATCH))
    return min(windows[_submit]), min(windows[_work])


async def _cpu_per_cycle(broker: Broker, depth: int) -> float:
    """Seconds of CPU per full cycle, checkpoints included: over at least one period from checkpoint to checkpoint."""
    engine = broker.engine
    checkpoints = broker.counters.checkpoints
    cycles = 0
    began = time.process_time()
    while cycles < depth // 3 or broker.counters.checkpoints == checkpoints or engine.checkpointing:
        await _submit(engine)
        await _work(engine)
        cycles += _ROUNDS * _BATCH
    return (time.process_time() - began) / cycles


async def _measure(depth: int) -> dict[str, float]:
    """Jobs per second of CPU, and log bytes per full cycle."""
    async with leading_broker(MemoryStore()) as broker:
        engine = broker.engine
        await fill(engine, depth)
        submit, work = await _cpu_per_job(engine)
        before = _segment_bytes(broker)
        await _submit(engine)
        await _work(engine)
        written = (_segment_bytes(broker) - before) / (_ROUNDS * _BATCH)
        cycle = await _cpu_per_cycle(broker, depth)
        return {
            "submit": 1 / submit,
            "claim + complete": 1 / work,
            "full cycle with its share of checkpoints": 1 / cycle,
            "log bytes per job": written,
        }


def run(report: Report) -> None:
    report.title("A long queue costs what a short one costs (engine, memory store, batches of 100)")
    figures = {depth: asyncio.run(_measure(depth)) for depth in DEPTHS}
    for name in figures[DEPTHS[0]]:
        unit = "bytes" if "bytes" in name else "jobs/s CPU"
        for depth in DEPTHS:
            report.figure(f"{name} at {depth:,} waiting", figures[depth][name], unit)
        for depth in DEPTHS[1:]:
            ratio = figures[depth][name] / figures[DEPTHS[0]][name]
            bounds = {"at_most": 1.02} if unit == "bytes" else {"at_least": 0.8}
            report.figure(f"{name} at {depth:,} / at {DEPTHS[0]:,}", ratio, "x", **bounds)

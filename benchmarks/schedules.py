"""What many schedules that are due in one minute do to others: a submit while they fire, beside one while none do."""

import asyncio
import os
import time
from statistics import quantiles

from benchmarks.brokers import leading_broker, random_jobs
from benchmarks.report import Report
from osqueue_service.broker import Broker
from osqueue_service.engine.engine import Engine
from osqueue_service.state.commands import PutSchedule, Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.state.schedules import ScheduleSpec
from osqueue_service.storage.memory import MemoryStore

_SCHEDULES = int(os.environ.get("OSQUEUE_BENCH_SCHEDULES", "100000"))
_SPREAD_MS = int(os.environ.get("OSQUEUE_BENCH_SPREAD_MS", "60000"))
_EVERY_MS = 24 * 3_600_000
_IDLE_S = 10
_PAUSE_S = 0.005


async def _put(engine: Engine, first_at: int) -> None:
    spec = ScheduleSpec(JobSpec("report", b"{}"), every_ms=_EVERY_MS, anchor_at=first_at, jitter_ms=_SPREAD_MS)
    for begin in range(0, _SCHEDULES, 1_000):
        names = [f"schedule{number}" for number in range(begin, min(begin + 1_000, _SCHEDULES))]
        await asyncio.gather(*(engine.execute(PutSchedule(name, spec)) for name in names))


async def _submit_until(broker: Broker, end: float) -> list[float]:
    """The ms that submits took, one after the other."""
    took = []
    while time.perf_counter() < end:
        began = time.perf_counter()
        await broker.engine.execute(Submit(random_jobs(1)))
        took.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(_PAUSE_S)
    return took


async def _measure(report: Report) -> None:
    async with leading_broker(MemoryStore()) as broker:
        engine = broker.engine
        # Long enough ahead for all of them to be put and the idle queue to be measured before the first is due.
        began = time.perf_counter()
        first_at = engine.now_ms() + _IDLE_S * 1_000 + _SCHEDULES
        await _put(engine, first_at)
        report.figure("PutSchedule", _SCHEDULES / (time.perf_counter() - began), "/s")
        idle = await _submit_until(broker, time.perf_counter() + _IDLE_S)
        await asyncio.sleep(max(0, first_at - engine.now_ms()) / 1_000)
        busy = await _submit_until(broker, time.perf_counter() + _SPREAD_MS / 1_000)
        while (totals := engine.views.totals.schedules) is None or totals.tally.fired < _SCHEDULES:
            await asyncio.sleep(0.1)
        late_ms = engine.now_ms() - first_at - _SPREAD_MS
    p99_idle, p99_busy = quantiles(idle, n=100)[98], quantiles(busy, n=100)[98]
    report.figure("submit, p99, while none is due", p99_idle, "ms")
    report.figure(f"submit, p99, while {_SCHEDULES:,} are due in {_SPREAD_MS / 1_000:.0f} s", p99_busy, "ms")
    report.figure("the same as a multiple", p99_busy / p99_idle, "x", at_most=2.0)
    report.figure("the last one fired late by at most", late_ms, "ms")


def run(report: Report) -> None:
    report.title("Schedules")
    asyncio.run(_measure(report))

"""A small load on a broker: batches from a few callers, then single jobs, and how long everything took."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osqueue import OsqueueClient

JOB_TYPE = "osqueue.bench"
"""A type of its own, so that no worker of somebody else runs the load's jobs."""
BATCH_JOBS = 100
PARALLEL = 4
LONE_SUBMITS = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    jobs: int
    submit_per_s: float
    cycle_per_s: float
    lone_submit_ms_p50: float
    lone_submit_ms_p99: float
    handover_ms_p50: float
    """From a lone submit's start until a waiting worker held the job."""


async def measure(url: str, token: str | None, jobs: int, size: int) -> Figures:
    """Submit `jobs` jobs of `size` bytes, work them off, then submit single ones to a waiting worker."""
    from osqueue import OsqueueClient

    async with OsqueueClient(url, token=token) as client:
        payload = b'"' + b"x" * (size - 2) + b'"'
        batches = max(1, jobs // BATCH_JOBS)
        submit_s = await _timed(lambda: _in_parallel(batches, lambda: _submit_batch(client, payload)))
        done, cycle_s = await _work_off(client, batches * BATCH_JOBS)
        lone_ms, handover_ms = await _lone(client, payload)
    return Figures(
        jobs=batches * BATCH_JOBS,
        submit_per_s=batches * BATCH_JOBS / submit_s,
        cycle_per_s=done / cycle_s,
        lone_submit_ms_p50=_percentile(lone_ms, 0.5),
        lone_submit_ms_p99=_percentile(lone_ms, 0.99),
        handover_ms_p50=_percentile(handover_ms, 0.5),
    )


async def _submit_batch(client: "OsqueueClient", payload: bytes) -> None:
    from osqueue import new_job

    await client.submit_jobs([new_job(JOB_TYPE, payload) for _ in range(BATCH_JOBS)])


async def _work_off(client: "OsqueueClient", jobs: int) -> tuple[int, float]:
    """Claim and complete until nothing is left; how many, and how long that took."""
    done = 0

    async def worker(number: int) -> None:
        nonlocal done
        while claimed := await client.claim_jobs(f"bench-{number}", [JOB_TYPE], max_jobs=BATCH_JOBS):
            await asyncio.gather(*(client.complete_job(job) for job in claimed))
            done += len(claimed)

    started_s = time.monotonic()
    await asyncio.gather(*(worker(number) for number in range(PARALLEL)))
    return done, max(time.monotonic() - started_s, 0.001)


async def _lone(client: "OsqueueClient", payload: bytes) -> tuple[list[float], list[float]]:
    """One job at a time, to a worker that waits for it: how long its submit took, and how long until it was held."""
    submits, handovers = [], []
    for _ in range(LONE_SUBMITS):
        waiting = asyncio.create_task(client.claim_job("bench-waiting", [JOB_TYPE], wait_ms=10_000))
        await client.get_stats()  # by its answer the claim is at the broker, or nearly so
        started_s = time.monotonic()
        await client.submit_job(JOB_TYPE, payload)
        submits.append((time.monotonic() - started_s) * 1_000)
        job = await waiting
        handovers.append((time.monotonic() - started_s) * 1_000)
        if job is not None:
            await client.complete_job(job)
    return submits, handovers


async def _in_parallel(times: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Do the work `times` times, a few at once."""
    left = iter(range(times))

    async def caller() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(caller() for _ in range(PARALLEL)))


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    started_s = time.monotonic()
    await work()
    return max(time.monotonic() - started_s, 0.001)


def _percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]

"""A million waiting jobs: memory per job, the pause of a full collection, and the time a restart takes."""

import asyncio
import gc
import tempfile
import time
from pathlib import Path

from benchmarks.brokers import JOB_BYTES, leading_broker
from benchmarks.report import Report, rss_bytes
from osqueue_service.state.commands import Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.storage.file import FileStore

JOBS = 1_000_000
_BATCH = 1_000


def _payload(number: int) -> bytes:
    return f'"{number:0{JOB_BYTES - 2}d}"'.encode()


async def _fill(directory: Path, report: Report) -> None:
    store = FileStore.open(directory)
    store.acquire_ownership()
    async with leading_broker(store) as broker:
        before = rss_bytes()
        for start in range(0, JOBS, 8 * _BATCH):
            await asyncio.gather(
                *(
                    broker.engine.execute(Submit([JobSpec("email", _payload(n)) for n in range(at, at + _BATCH)]))
                    for at in range(start, min(start + 8 * _BATCH, JOBS), _BATCH)
                )
            )
        await asyncio.sleep(0)
        report.figure("memory per waiting job of 200 bytes", (rss_bytes() - before) / JOBS, "bytes", at_most=1_228)
        report.figure("pause of a full collection, queue grown to it", _collection_ms(), "ms", at_most=20)
    await store.close()


async def _restart(directory: Path, report: Report) -> None:
    began = time.perf_counter()
    store = FileStore.open(directory)
    store.acquire_ownership()
    async with leading_broker(store) as broker:
        report.figure("restart with them, file store", time.perf_counter() - began, "s", at_most=10)
        assert broker.engine.views.totals.live == JOBS
        report.figure("pause of a full collection, after a restart", _collection_ms(), "ms", at_most=20)
    await store.close()


def _collection_ms() -> float:
    """The longest of three full collections."""
    pauses = []
    for _ in range(3):
        began = time.perf_counter()
        gc.collect()
        pauses.append((time.perf_counter() - began) * 1_000)
    return max(pauses)


def run(report: Report) -> None:
    report.title("A million waiting jobs of 200 bytes")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "queue"
        asyncio.run(_fill(directory, report))
        asyncio.run(_restart(directory, report))

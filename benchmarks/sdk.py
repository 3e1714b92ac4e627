"""What users of the Python SDK get: one client, one worker, a broker on the file store in another process."""

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.report import Report
from benchmarks.serving import cpu_seconds
from osqueue import OsqueueClient, Worker, new_job

CALLERS = 256
JOBS = 40_000
ROUNDS = 3
PAYLOAD = {"to": "ada@example.org", "n": 1}


def run(report: Report) -> None:
    report.title("The SDK, file store")
    asyncio.run(_measure(report))
    report.figure("import osqueue", _import_ms(), "ms", at_most=300)


async def _measure(report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="osqueue-bench-") as directory:
        async with _broker(Path(directory) / "producing") as (address, pid):
            await _measure_submitting(report, address, pid)
        async with _broker(Path(directory) / "working") as (address, pid), OsqueueClient(address) as client:
            await _measure_working(report, client, pid, 256, at_least=10_000)
            await _measure_working(report, client, pid, 32)


@asynccontextmanager
async def _broker(directory: Path) -> AsyncIterator[tuple[str, int]]:
    """A broker process: its address and process id."""
    command = [sys.executable, "-m", "benchmarks.server", "file", str(directory)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        process.stdin.close()
        await process.wait()


async def _measure_submitting(report: Report, address: str, pid: int) -> None:
    best, cpu_us, broker_us = 0.0, 0.0, 0.0
    async with OsqueueClient(address) as client:
        await _submit(client, CALLERS * 4)
        for _ in range(ROUNDS):
            cpu, broker_cpu = time.process_time(), cpu_seconds(pid)
            rate = await _submit(client, JOBS)
            if rate > best:
                best = rate
                cpu_us = (time.process_time() - cpu) / JOBS * 1e6
                broker_us = (cpu_seconds(pid) - broker_cpu) / JOBS * 1e6
    report.figure(f"submit_job, {CALLERS} concurrent calls", best, "jobs/s", at_least=20_000)
    report.figure("CPU of the client per job", cpu_us, "µs")
    report.figure("CPU of the broker per job", broker_us, "µs")
    async with OsqueueClient(address, coalesce=False) as client:
        alone = await _submit(client, JOBS // 10)
    report.figure("the same without gathering calls into batches", alone, "jobs/s")
    report.figure("gathered to alone", best / alone, "x")


async def _measure_working(
    report: Report, client: OsqueueClient, pid: int, concurrency: int, at_least: float | None = None
) -> None:
    jobs = JOBS // 2
    best, cpu_us, broker_us = 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        await client.submit_jobs((new_job("noop", PAYLOAD) for _ in range(jobs)), atomic=False)
        cpu, broker_cpu = time.process_time(), cpu_seconds(pid)
        rate = await _work(client, concurrency, jobs)
        if rate > best:
            best = rate
            cpu_us = (time.process_time() - cpu) / jobs * 1e6
            broker_us = (cpu_seconds(pid) - broker_cpu) / jobs * 1e6
    report.figure(f"worker, no-op handlers, {concurrency} slots", best, "jobs/s", at_least=at_least)
    report.figure("CPU of the worker per job", cpu_us, "µs")
    report.figure("CPU of the broker per job", broker_us, "µs")


async def _submit(client: OsqueueClient, count: int) -> float:
    """Jobs per second of `CALLERS` callers that each submit one job after the other."""
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await client.submit_job("noop", PAYLOAD)

    gc.collect()
    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / (time.perf_counter() - started)


async def _work(client: OsqueueClient, concurrency: int, count: int) -> float:
    """Jobs per second of one worker, from its start until all that wait are done."""

    async def noop(payload: object) -> None:
        return None

    worker = Worker(client, {"noop": noop}, concurrency=concurrency)
    gc.collect()
    started = time.perf_counter()
    await worker.run(until_idle=True, handle_signals=False)
    assert worker.tally.completed == count
    return count / (time.perf_counter() - started)


def _import_ms() -> float:
    """The best of several fresh interpreters, less what an empty one takes."""

    def start_ms(code: str) -> float:
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            best = min(best, (time.perf_counter() - started) * 1_000)
        return best

    return start_ms("import osqueue") - start_ms("pass")

"""The Work stream: throughput on the file store, idle submit to handler, idle workers; and a million delayed jobs."""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import grpc

from benchmarks.brokers import leading_broker
from benchmarks.report import Report
from benchmarks.serving import PUT_MS, Stub, cpu_seconds, serving
from osqueue_service.clock import SystemClock
from osqueue_service.state.commands import Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.storage.memory import MemoryStore
from osqueue_stubs.osqueue.v1 import queue_pb2

_JOBS = 60_000
_SLOTS = 1_000
_STREAMS = 4
_IDLE_WORKERS = 1_000
_DELAYED = 1_000_000


async def _fill(stub: Stub, count: int) -> None:
    batch = queue_pb2.SubmitJobsRequest(
        jobs=[queue_pb2.SubmitJobRequest(payload=b"x" * 200, type="email") for _ in range(1_000)]
    )
    await asyncio.gather(*(stub.SubmitJobs(batch) for _ in range(count // 1_000)))


async def _work(stub: Stub, turn: int, count: int) -> None:
    """Complete `count` jobs on all streams together, many per frame; returns when the streams are drained.

    Hanging up instead would leave the next jobs to a worker that is gone, until the broker notices.
    """
    calls = [stub.Work() for _ in range(_STREAMS)]
    receipts = 0

    async def stream(number: int) -> None:
        nonlocal receipts
        opened = queue_pb2.WorkOpen(worker_id=f"w{turn}-{number}", slots=_SLOTS)
        await calls[number].write(queue_pb2.WorkRequest(open=opened))
        while (message := await calls[number].read()) is not grpc.aio.EOF:
            if message.jobs:
                done = [
                    queue_pb2.CompleteJobRequest(job_id=job.job_id, lease_token=job.lease_token) for job in message.jobs
                ]
                await calls[number].write(queue_pb2.WorkRequest(completions=done))
            receipts += len(message.receipts)
            if message.receipts and receipts == count:
                for call in calls:
                    await call.write(queue_pb2.WorkRequest(drain=True))

    await asyncio.gather(*(stream(number) for number in range(_STREAMS)))


async def _throughput(report: Report) -> None:
    best, cpu = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with serving("file", f"{folder}/queue") as (stub, pid):
            for turn in range(3):
                await _fill(stub, _JOBS)
                used, began = cpu_seconds(pid), time.perf_counter()
                await _work(stub, turn, _JOBS)
                rate = _JOBS / (time.perf_counter() - began)
                if rate > best:
                    best, cpu = rate, (cpu_seconds(pid) - used) / _JOBS * 1e6
    report.figure(
        f"claim + complete, {_STREAMS} streams of {_SLOTS} slots, file store", best, "jobs/s", at_least=40_000
    )
    report.figure("CPU of the broker per job", cpu, "µs")


async def _handover(report: Report) -> None:
    took: list[float] = []
    async with serving("memory", str(PUT_MS)) as (stub, _):
        call = stub.Work()
        await call.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1)))
        await call.read()
        for _ in range(20):
            await asyncio.sleep(PUT_MS * 3 / 1_000)
            began = time.perf_counter()
            submitting = asyncio.ensure_future(stub.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1")))
            message = await call.read()
            while not message.jobs:
                message = await call.read()
            took.append((time.perf_counter() - began) * 1_000)
            (job,) = message.jobs
            done = queue_pb2.CompleteJobRequest(job_id=job.job_id, lease_token=job.lease_token)
            await call.write(queue_pb2.WorkRequest(completions=[done]))
            await submitting
        call.cancel()
    report.figure("idle submit to handler, p50 / put", median(took) / PUT_MS, "x", at_most=1.2)


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


async def _idle(report: Report) -> None:
    seconds = 10
    async with serving("memory", "0") as (stub, pid):
        before = _rss_mib(pid)
        calls = [stub.Work() for _ in range(_IDLE_WORKERS)]
        for number, call in enumerate(calls):
            opened = queue_pb2.WorkOpen(worker_id=f"w{number}", slots=10)
            await call.write(queue_pb2.WorkRequest(open=opened))
            await call.read()
        used = cpu_seconds(pid)
        await asyncio.sleep(seconds)
        share = (cpu_seconds(pid) - used) / seconds * 100
        report.figure(f"{_IDLE_WORKERS:,} idle workers, share of a core", share, "%", at_most=5)
        report.figure(f"{_IDLE_WORKERS:,} idle workers, memory", _rss_mib(pid) - before, "MiB", at_most=100)
        for call in calls:
            call.cancel()


def _late(start: int, due: int) -> Submit:
    """A thousand jobs, spread with all others over the minute after `due`."""
    return Submit(
        [JobSpec("late", b"x", run_at=due + number * 60_000 // _DELAYED) for number in range(start, start + 1_000)]
    )


async def _delayed(report: Report) -> None:
    """Commit latency of a steady caller while a million jobs come due within a minute, and without."""
    async with leading_broker(MemoryStore(clock=SystemClock(), put_ms=5)) as broker:
        engine = broker.engine

        async def p99(seconds: float) -> float:
            took: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = time.perf_counter()
                await engine.execute(Submit([JobSpec("probe", b"1")]))
                took.append((time.perf_counter() - began) * 1_000)
                await asyncio.sleep(0.005)
            return quantiles(took, n=100)[98]

        quiet = await p99(5)
        due = engine.now_ms() + 30_000
        for start in range(0, _DELAYED, 8_000):
            batches = (_late(at, due) for at in range(start, start + 8_000, 1_000))
            await asyncio.gather(*(engine.execute(batch) for batch in batches))
        while engine.now_ms() < due or engine.checkpointing:
            await asyncio.sleep(0.1)
        busy = await p99(20)
        report.figure("commit p99 without anything due", quiet, "ms")
        report.figure("commit p99 while 1,000,000 delayed jobs come due in a minute", busy, "ms")
        report.figure("the second / the first", busy / quiet, "x", at_most=2)


def run(report: Report) -> None:
    report.title("Dispatch")
    asyncio.run(_throughput(report))
    asyncio.run(_handover(report))
    asyncio.run(_idle(report))
    asyncio.run(_delayed(report))

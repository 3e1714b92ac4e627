"""What a caller sees over gRPC: throughput in batches on the file store, latencies over an injected put of 50 ms.

Server and client are a process each, on the same machine.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import grpc

from benchmarks.brokers import JOB_BYTES
from benchmarks.report import Report
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc

PUT_MS = 50
_BATCH = 100
_CALLERS = 32
_BEST_OF = 3
_PAYLOAD = b'"' + b"x" * (JOB_BYTES - 2) + b'"'

Stub = queue_pb2_grpc.QueueServiceStub


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Stub, int]]:
    """A broker process and a client of it; also the process's id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.server",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    address = (await process.stdout.readline()).decode().strip()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield queue_pb2_grpc.QueueServiceStub(channel), process.pid
    finally:
        process.stdin.close()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _cycle(stub: Stub, worker_id: str, rounds: int) -> None:
    """Submit, claim and complete a batch of jobs, again and again."""
    jobs = [queue_pb2.SubmitJobRequest(payload=_PAYLOAD, type="email") for _ in range(_BATCH)]
    submit = queue_pb2.SubmitJobsRequest(jobs=jobs)
    claim = queue_pb2.ClaimJobsRequest(worker_id=worker_id, max_jobs=_BATCH, wait_ms=10_000)
    for _ in range(rounds):
        await stub.SubmitJobs(submit)
        left = _BATCH
        while left:
            claimed = (await stub.ClaimJobs(claim)).jobs
            left -= len(claimed)
            done = [
                queue_pb2.CompleteJobRequest(job_id=job.job_id, worker_id=worker_id, lease_token=job.lease_token)
                for job in claimed
            ]
            answer = await stub.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=done))
            assert all(result.HasField("completed") for result in answer.results)


async def _throughput(report: Report) -> None:
    rounds = 12
    best, server_cpu = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with serving("file", f"{folder}/queue") as (stub, pid):
            await _cycle(stub, "warm", 5)
            for _ in range(_BEST_OF):
                cpu, began = cpu_seconds(pid), time.perf_counter()
                await asyncio.gather(*(_cycle(stub, f"w{n}", rounds) for n in range(_CALLERS)))
                took = time.perf_counter() - began
                rate = _CALLERS * rounds * _BATCH / took
                if rate > best:
                    best, server_cpu = rate, (cpu_seconds(pid) - cpu) / (_CALLERS * rounds * _BATCH) * 1e6
    report.figure(f"full cycle in batches of {_BATCH}, file store, {_CALLERS} callers", best, "jobs/s", at_least=20_000)
    report.figure("CPU of the broker per full cycle", server_cpu, "µs")


async def _latencies(call: Callable[[], Awaitable[object]], callers: int, rounds: int) -> list[float]:
    """Milliseconds of every call of a closed loop; the first round of each caller is warm-up."""
    took: list[float] = []

    async def caller() -> None:
        for number in range(rounds + 1):
            began = time.perf_counter()
            await call()
            if number:
                took.append((time.perf_counter() - began) * 1_000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return took


async def _submits(report: Report) -> None:
    request = queue_pb2.SubmitJobRequest(payload=_PAYLOAD, type="email")
    async with serving("memory", str(PUT_MS)) as (stub, _), serving("empty") as (empty, _):
        for callers, rounds, bound in ((1, 20, 1.2), (32, 20, 1.4), (256, 10, None)):
            took = median(await _latencies(lambda: stub.SubmitJob(request), callers, rounds))
            bare = median(await _latencies(lambda: empty.SubmitJob(request), callers, rounds))
            name = f"p50 of a submit, {callers} callers"
            report.figure(f"{name} / put", took / PUT_MS, "x", at_most=bound)
            report.figure(f"{name}, beside an empty handler's {bare:.1f} ms", took, "ms")


async def _handover(report: Report) -> None:
    """An idle queue: from the submit to a waiting claim's answer."""
    took: list[float] = []
    async with serving("memory", str(PUT_MS)) as (stub, _):
        for number in range(20):
            kind = f"t{number}"
            claim = queue_pb2.ClaimJobsRequest(worker_id="w", types=[kind], wait_ms=10_000)
            waiting = asyncio.ensure_future(stub.ClaimJobs(claim))
            await asyncio.sleep(PUT_MS * 2 / 1_000)
            began = time.perf_counter()
            submitting = asyncio.ensure_future(stub.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1", type=kind)))
            assert (await waiting).jobs
            took.append((time.perf_counter() - began) * 1_000)
            await submitting
    report.figure("idle submit to a waiting claim's answer, p50 / put", median(took) / PUT_MS, "x", at_most=1.3)


def run(report: Report) -> None:
    report.title(f"Over gRPC, a process each (puts of {PUT_MS} ms injected where a ratio to the put is given)")
    asyncio.run(_throughput(report))
    asyncio.run(_submits(report))
    asyncio.run(_handover(report))

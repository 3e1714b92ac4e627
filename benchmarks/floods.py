"""200 hostile callers beside honest ones: `python -m benchmarks.floods [--seconds 60] [--rest 60]`.

One process serves gRPC, REST, WebSocket and Connect behind a token. First 200 callers ask for small things, then as
many send, at the same pace, what is meant to hurt, half of them without the token; they are a process of their own.
Beside both, honest callers measure how long a submit takes, a worker renews its lease, and the root's renewals are
watched. `--only NAME` floods with one kind of call.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc

from benchmarks.hostile import CALLERS, Target
from benchmarks.report import Report
from osqueue_service.limits import MIB
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc

PROBES = 4
LIMITS = {"bytes": 32 * MIB, "inbox_bytes": 16 * MIB, "finished_bytes": 8 * MIB, "dead_bytes": 8 * MIB}
HEARTBEAT_MS = 1_000
LEASE_MS = 3_000
GATEWAY_BYTES = 192 * MIB
"""What the gateway's own limits allow: body_bytes_total and socket_waiting_bytes_total."""
STATED = sum(LIMITS.values()) + GATEWAY_BYTES
FACTOR = 2.0
"""RSS under flood may be this many times the sum of the stated limits, above what the process takes at rest."""


def run(report: Report, seconds: float = 60.0, rest: float = 60.0, only: str = "") -> None:
    report.title(f"A flood by {CALLERS} callers, {seconds:g} s, and {rest:g} s afterwards")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (target, process):
        asyncio.run(_measure(report, target, process.pid, Path(folder), seconds, rest, only))


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[Target, "subprocess.Popen[bytes]"]]:
    """Broker and gateway in a process of their own."""
    target = Target("127.0.0.1", _free_port(), _free_port(), "a-token-for-the-benchmark")
    limits = {f"OSQUEUE_LIMIT_{name.upper()}": str(value) for name, value in LIMITS.items()}
    command = [
        sys.executable,
        "-m",
        "osqueue_cli",
        "serve",
        "--storage-backend",
        "file",
        "--data-dir",
        str(folder / "q"),
    ]
    command += ["--host", target.host, "--grpc-port", str(target.grpc_port), "--http-port", str(target.http_port)]
    environment = {
        **os.environ, **limits, "OSQUEUE_TOKEN": target.token, "LOG_LEVEL": "ERROR",
        "BROKER_HEARTBEAT_INTERVAL_MS": str(HEARTBEAT_MS),
    }  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield target, process
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _measure(
    report: Report, target: Target, pid: int, folder: Path, seconds: float, rest: float, only: str
) -> None:
    await until_ready(target)
    idle = rss(pid)
    calm = await _phase(target, pid, folder, "harmless", seconds)
    before = rss(pid)
    rough = await _phase(target, pid, folder, only or "hostile", seconds)
    await _clear(target)
    await asyncio.sleep(rest)
    after = rss(pid)

    for name, phase in (("harmless", calm), ("hostile", rough)):
        report.note(
            f"{name}: {phase.calls:,} calls, honest submits p50 {phase.p50 * 1e3:.1f} ms, "
            f"p99 {phase.p99 * 1e3:.1f} ms, RSS at most {phase.rss / MIB:,.0f} MiB"
        )
    report.figure("RSS at rest", idle / MIB, "MiB")
    report.figure("RSS under flood above that, of the stated limits", (rough.rss - idle) / STATED, "x", at_most=FACTOR)
    report.figure(f"RSS {rest:g} s after the flood, of that before it", after / before, "x", at_most=1.2)
    report.figure("honest callers' p99 under flood, of that under load", rough.p99 / calm.p99, "x", at_most=3)
    report.figure("the longest wait for a heartbeat's answer", rough.heartbeat_s * 1e3, "ms", at_most=LEASE_MS * 2 / 3)
    report.figure(
        "the longest time between two renewals of the root", rough.renewal_s * 1e3, "ms", at_most=HEARTBEAT_MS * 3
    )
    report.figure("leases of honest workers lost", rough.lost, "", at_most=0)


class Phase:
    """What was seen during one load."""

    def __init__(self) -> None:
        self.calls = 0
        self.took: list[float] = []
        self.rss = 0
        self.heartbeat_s = self.renewal_s = 0.0
        self.lost = 0

    @property
    def p50(self) -> float:
        return statistics.median(self.took)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.took, n=100)[98]


async def _phase(target: Target, pid: int, folder: Path, load: str, seconds: float) -> Phase:
    phase = Phase()
    command = [sys.executable, "-m", "benchmarks.hostile", load, str(seconds)]
    command += [target.host, str(target.grpc_port), str(target.http_port), target.token]
    callers = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    ends = time.monotonic() + seconds
    honest = (_honest(phase, target, ends) for _ in range(PROBES))
    await asyncio.gather(*honest, _worker(phase, target, ends), _watch(phase, pid, folder / "q", ends))
    said, _ = await callers.communicate()
    phase.calls = int(said)
    return phase


async def _honest(phase: Phase, target: Target, ends: float) -> None:
    """Submits small jobs and takes them out again, so that the queue stays short."""
    async with target.channel() as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        while time.monotonic() < ends:
            began = time.perf_counter()
            with contextlib.suppress(grpc.RpcError):
                done = await stub.SubmitJob(
                    queue_pb2.SubmitJobRequest(payload=b"{}", type="honest"), metadata=target.metadata, timeout=10
                )
                phase.took.append(time.perf_counter() - began)
                await stub.CancelJob(
                    queue_pb2.CancelJobRequest(job_id=done.job_id), metadata=target.metadata, timeout=10
                )
            await asyncio.sleep(0.02)


async def _worker(phase: Phase, target: Target, ends: float) -> None:
    """Holds one lease by heartbeats."""
    async with target.channel() as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        request = queue_pb2.SubmitJobRequest(payload=b"{}", type="held", lease_ms=LEASE_MS)
        await stub.SubmitJob(request, metadata=target.metadata, timeout=10)
        claim = queue_pb2.ClaimJobRequest(worker_id="w", types=["held"])
        job: job_pb2.ClaimedJob = await stub.ClaimJob(claim, metadata=target.metadata, timeout=10)
        proof = {"job_id": job.job_id, "worker_id": "w", "lease_token": job.lease_token}
        while time.monotonic() < ends:
            began = time.perf_counter()
            try:
                await stub.Heartbeat(queue_pb2.HeartbeatRequest(**proof), metadata=target.metadata, timeout=10)
            except grpc.RpcError:
                phase.lost += 1
            phase.heartbeat_s = max(phase.heartbeat_s, time.perf_counter() - began)
            await asyncio.sleep(LEASE_MS / 3_000)
        with contextlib.suppress(grpc.RpcError):
            await stub.CompleteJob(queue_pb2.CompleteJobRequest(**proof), metadata=target.metadata, timeout=10)


async def _watch(phase: Phase, pid: int, directory: Path, ends: float) -> None:
    """The process's memory, and how often the root is written."""
    (root,) = await asyncio.to_thread(lambda: [str(path) for path in directory.rglob("queue.json")])
    seen, since = os.stat(root).st_mtime_ns, time.monotonic()
    while time.monotonic() < ends:
        await asyncio.sleep(0.05)
        phase.rss = max(phase.rss, rss(pid))
        written = os.stat(root).st_mtime_ns
        if written != seen:
            seen, since = written, time.monotonic()
        phase.renewal_s = max(phase.renewal_s, time.monotonic() - since)


def rss(pid: int) -> int:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _clear(target: Target) -> None:
    """Take out the jobs that the flood has left: what they take was asked for."""
    left = job_pb2.JobFilter(types=["large", "bad", "harmless"])
    async with target.channel() as channel:
        queue, admin = queue_pb2_grpc.QueueServiceStub(channel), admin_pb2_grpc.AdminServiceStub(channel)
        for select, request in (
            (queue.CancelJobs, queue_pb2.CancelJobsRequest(filter=left)),
            (admin.Purge, admin_pb2.PurgeRequest(filter=left)),
        ):
            more = True
            while more:
                done = await select(request, metadata=target.metadata, timeout=30)
                more = bool(done.next_page_token)
                request.page_token = done.next_page_token


async def until_ready(target: Target) -> None:
    async with aiohttp.ClientSession(target.url) as session:
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise RuntimeError("the broker did not become ready")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each load lasts")
    parser.add_argument("--rest", type=float, default=60.0, help="how long to wait after the flood")
    parser.add_argument("--only", default="", help="flood with this kind of call alone, by its name in hostile.py")
    options = parser.parse_args()
    report = Report()
    report.machine()
    run(report, options.seconds, options.rest, options.only)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a change of leader costs: brokers as processes over a real S3 server on this machine, default heartbeats.

Needs SeaweedFS, as scripts/install_test_servers.sh puts it there. A busy leader of 100,000 jobs is asked to stop, the
next one killed; a leader of 1,000,000 jobs is killed, and the next one.
"""

import asyncio
import signal
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import boto3

from benchmarks.brokers import random_payload
from benchmarks.report import Report
from osqueue import OsqueueClient, OsqueueError, new_job
from osqueue_service.clock import SystemClock
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.ids import SystemIds
from osqueue_service.leadership import Heartbeat
from osqueue_service.log import LogCounters, Reader, Reading, Root, Settler
from osqueue_service.state.model import Status
from osqueue_service.storage.s3 import S3Store
from tests.chaos.bell import Bell
from tests.chaos.cluster import CREDENTIALS
from tests.chaos.processes import BrokerProcess
from tests.servers import LOOPBACK, NotInstalled, free_ports, seaweedfs

BUSY_JOBS = 100_000
MANY_JOBS = 1_000_000
FAILOVER_SLACK_S = 2.0
HAND_OVER_S_MAX = 1.0
TAKEOVER_S_MAX = 15.0

_BUCKET = "failover"
_BATCH = 1_000
_PRODUCERS = 2
_WORKERS = 4
_LOOK_EVERY_S = 0.05
_PATIENCE_S = 60.0
_BEHIND = 200
"""Commits that a standby may be behind a busy leader: about those of a second."""


class _World:
    """Two brokers on one bucket, and what their clients were told."""

    def __init__(self, endpoint: str, prefix: str, folder: Path) -> None:
        ports, pages = free_ports(2), free_ports(2)
        variables = {
            "STORAGE_BACKEND": "s3",
            "S3_BUCKET": _BUCKET,
            "S3_PREFIX": prefix,
            "S3_ENDPOINT_URL": endpoint,
            **CREDENTIALS,
        }
        self.brokers = [
            BrokerProcess(
                f"broker-{number}", port, {**variables, "BROKER_METRICS_PORT": str(pages[number])}, folder, Bell()
            )
            for number, port in enumerate(ports)
        ]
        self._pages = [f"http://{LOOPBACK}:{port}/metrics" for port in pages]
        self.store = S3Store(
            _BUCKET, clock=SystemClock(), prefix=prefix, endpoint_url=endpoint, session=_session(), depth=8
        )
        self.reader = Reader(Settler(self.store, SystemClock(), SystemIds(), LogCounters()))
        self.submitted: list[str] = []
        self.completed: set[str] = set()
        self.handed_out_again = 0
        self.answers: list[float] = []
        """When each answer came that said that something is durable."""

    def client(self) -> OsqueueClient:
        return OsqueueClient([broker.address for broker in self.brokers], retry_delay_ms=100, timeout_ms=20_000)

    async def fill(self, count: int) -> None:
        """Submit `count` jobs, as fast as one client can."""
        async with self.client() as client:
            left = iter(range(0, count, _BATCH))

            async def submit() -> None:
                for _ in left:
                    jobs = [new_job("email", random_payload()) for _ in range(_BATCH)]
                    self.submitted += [handle.id for handle in await client.submit_jobs(jobs)]

            await asyncio.gather(*(submit() for _ in range(4)))

    async def produce(self) -> None:
        async with self.client() as client:
            while True:
                jobs = [new_job("email", random_payload()) for _ in range(10)]
                handles = await client.submit_jobs(jobs)
                self.submitted += [handle.id for handle in handles]
                self.answers.append(time.monotonic())

    async def work(self, name: str) -> None:
        async with self.client() as client:
            while True:
                with suppress(OsqueueError):
                    asked_with = set(self.completed)
                    jobs = await client.claim_jobs(name, max_jobs=10, wait_ms=1_000)
                    self.handed_out_again += sum(job.job_id in asked_with for job in jobs)
                    await asyncio.gather(*(client.complete_job(job) for job in jobs))
                    self.completed.update(job.job_id for job in jobs)
                    self.answers.append(time.monotonic())

    async def until_followed(self) -> None:
        """Return once the standby has read the log nearly to its end, as one that is to take over at once has."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                figures = [await asyncio.to_thread(_figures, page) for page in self._pages]
                durable = max(each.get("osqueue_sequence", 0.0) for each in figures)
                followed = max(each["osqueue_followed_sequence"] for each in figures)
                if followed and durable - followed < _BEHIND:
                    return
                await asyncio.sleep(_LOOK_EVERY_S)

    def leader(self) -> BrokerProcess:
        return max((each for each in self.brokers if each.running and each.led()), key=lambda each: each.led()[-1])

    async def until_answered(self, after_s: float, epoch: int) -> tuple[float, float]:
        """Seconds from then to the first answer after a broker led an epoch above this one, and how many of them passed
        without any answer."""
        successor = next(each for each in self.brokers if each.running and not (each.led() and each.led()[-1] == epoch))
        await successor.until_said(f"leading epoch {epoch + 1} ", _PATIENCE_S)
        led_s = time.monotonic()
        await _until(lambda: bool(self.answers) and self.answers[-1] > led_s)
        first = next(at for at in self.answers if at > led_s)
        return first - after_s, first - max(after_s, max(at for at in self.answers if at < led_s))

    async def lost(self) -> tuple[int, int]:
        """Acknowledged jobs that the bucket does not hold, and acknowledged completions that it does not know."""
        rebuild = Rebuild()
        reading = await self.reader.read(rebuild)
        assert isinstance(reading, Reading)
        state = rebuild.state
        jobs = sum(state.find(job_id) is None for job_id in self.submitted if job_id not in self.completed)
        open_again = [job for job_id in self.completed if (job := state.find(job_id)) is not None]
        return jobs, sum(job.status is not Status.COMPLETED for job in open_again)

    async def epoch(self) -> int:
        root = await self.reader.root()
        return root.epoch if isinstance(root, Root) else 0


@asynccontextmanager
async def _world(prefix: str) -> AsyncIterator[_World]:
    with tempfile.TemporaryDirectory() as folder, seaweedfs() as server:
        _session().client("s3", endpoint_url=server.endpoint, region_name="us-east-1").create_bucket(Bucket=_BUCKET)
        world = _World(server.endpoint, prefix, Path(folder))
        try:
            await world.brokers[0].start()
            await world.brokers[0].until_said("leading epoch 1 ")
            await world.brokers[1].start()
            await world.brokers[1].until_listening()
            yield world
        finally:
            for broker in world.brokers:
                await broker.close()
            await world.store.close()


def _session() -> Any:
    return boto3.session.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not happened():
            await asyncio.sleep(_LOOK_EVERY_S / 10)


@asynccontextmanager
async def _busy(world: _World) -> AsyncIterator[None]:
    loads: list[Awaitable[None]] = [world.produce() for _ in range(_PRODUCERS)]
    loads += [world.work(f"worker-{number}") for number in range(_WORKERS)]
    tasks = [asyncio.ensure_future(load) for load in loads]
    try:
        await _until(lambda: len(world.answers) > 100)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _busy_leaders(report: Report) -> None:
    timeout_s = Heartbeat().timeout_ms / 1_000
    async with _world("busy/") as world:
        await world.fill(BUSY_JOBS)
        async with _busy(world):
            await world.until_followed()
            first = world.leader()
            await first.signal(signal.SIGTERM)
            took_s, silent_s = await world.until_answered(first.killed_s, 1)
            name = f"SIGTERM at a busy leader of {BUSY_JOBS:,} jobs to the next leader's first answer"
            report.figure(name, took_s, "s", at_most=HAND_OVER_S_MAX)
            report.figure("of that, without any answer", silent_s, "s", at_most=HAND_OVER_S_MAX)
            await first.ended()
            await first.start()
            await first.until_listening()
            before = len(world.answers)
            await _until(lambda: len(world.answers) > before + 500)
            second = world.leader()
            await second.signal(signal.SIGKILL)
            took_s, _ = await world.until_answered(second.killed_s, 2)
            report.figure("kill -9 of it to the next answer", took_s, "s", at_most=timeout_s + FAILOVER_SLACK_S)
            await second.ended()
            for broker in world.brokers:
                report.note("; ".join(_told(line) for line in broker.lines if "leading epoch" in line))
        jobs, completions = await world.lost()
        report.figure(f"acknowledged jobs lost, of {len(world.submitted):,}", jobs, "jobs", at_most=0)
        report.figure(f"acknowledged completions lost, of {len(world.completed):,}", completions, "jobs", at_most=0)
        report.figure("finished jobs handed out again", world.handed_out_again, "jobs", at_most=0)


async def _many_jobs(report: Report) -> None:
    async with _world("many/") as world:
        began_s = time.monotonic()
        await world.fill(MANY_JOBS)
        report.note(f"{MANY_JOBS:,} jobs submitted in {time.monotonic() - began_s:.0f} s")
        standby, restarted = world.brokers[1], world.brokers[0]
        await world.leader().kill()
        await _takeover(report, world, standby, 2, "a standby that has followed")
        await standby.kill()
        await restarted.start()
        await _takeover(report, world, restarted, 3, "a broker that has just started")


async def _takeover(report: Report, world: _World, broker: BrokerProcess, epoch: int, who: str) -> None:
    """From the moment at which the root names the next epoch to an answer to a submit."""
    while await world.epoch() < epoch:
        await asyncio.sleep(_LOOK_EVERY_S)
    taken_s = time.monotonic()
    leading = f"leading epoch {epoch} "
    await broker.until_said(leading, _PATIENCE_S)
    async with world.client() as client:
        await client.submit_job("email", random_payload())
    took_s = time.monotonic() - taken_s
    report.figure(f"the root's swap to serving, {MANY_JOBS:,} jobs, {who}", took_s, "s", at_most=TAKEOVER_S_MAX)
    report.note(next(_told(line) for line in broker.lines if leading in line))


def _figures(page: str) -> dict[str, float]:
    """The metrics without labels."""
    with urllib.request.urlopen(page, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.partition(" ") for line in lines) if name.isidentifier()}


def _told(line: str) -> str:
    """What a broker said as it began to lead, without the frame of the log."""
    return line[line.index("leading epoch") :].rstrip('"}')


def run(report: Report) -> None:
    report.title("Changes of leader, over SeaweedFS on this machine, heartbeats of 3 s and a timeout of 10 s")
    try:
        asyncio.run(_busy_leaders(report))
        asyncio.run(_many_jobs(report))
    except NotInstalled as reason:
        report.note(str(reason))
        report.missed.append("changes of leader: not measured")

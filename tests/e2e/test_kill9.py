"""kill -9 at random moments, with real processes: what was acknowledged is there, what is finished stays so."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from osqueue import ClaimedJob, OsqueueClient, new_job
from osqueue_cli.processes import Children, free_ports, serving, start_broker

pytestmark = pytest.mark.e2e

KILLS = 5
PRODUCERS = 3
WORKERS = 4
START_LIMIT_S = 20.0


@dataclass
class History:
    """What the clients were told, in the order of one clock."""

    submitted: list[str] = field(default_factory=list)
    claims: list[tuple[float, str, int]] = field(default_factory=list)
    """When the claim was asked for, the job, the attempt."""
    completed: dict[str, float] = field(default_factory=dict)
    """When the completion's acknowledgement was here."""
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def acknowledgements(self) -> int:
        return len(self.submitted) + len(self.claims) + len(self.completed)

    async def grow(self, by: int) -> None:
        goal = self.acknowledgements + by
        while self.acknowledgements < goal:
            self.grown.clear()
            await self.grown.wait()


async def produce(client: OsqueueClient, history: History, rng: random.Random, enough: asyncio.Event) -> None:
    while not enough.is_set():
        jobs = [new_job(rng.choice(["a", "b"]), {"n": rng.random()}) for _ in range(rng.randint(1, 20))]
        history.submitted += [handle.id for handle in await client.submit_jobs(jobs)]
        history.grown.set()


async def work(client: OsqueueClient, worker_id: str, history: History, rng: random.Random) -> None:
    while True:
        asked_s = time.monotonic()
        jobs = await client.claim_jobs(worker_id, max_jobs=10, wait_ms=1_000)
        history.claims += [(asked_s, job.job_id, job.attempt) for job in jobs]
        await asyncio.gather(*(settle(client, job, history, rng) for job in jobs))
        history.grown.set()


async def settle(client: OsqueueClient, job: ClaimedJob, history: History, rng: random.Random) -> None:
    chance = rng.random()
    if job.attempt == 1 and chance < 0.1:
        await client.fail_job(job, "not this time")
    elif chance < 0.15:
        await client.release_job(job)
    else:
        await client.complete_job(job, {"attempt": job.attempt})
        history.completed[job.job_id] = time.monotonic()


async def test_what_was_acknowledged_survives_kill_9(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    rng = random.Random(seed)
    history = History()
    enough = asyncio.Event()
    (port,) = free_ports(1)
    url = f"grpc://127.0.0.1:{port}"

    async with Children(tmp_path / "logs") as children:
        broker = await start_broker(children, tmp_path / "queue", port)
        await serving(url, broker, START_LIMIT_S)
        async with OsqueueClient(url) as producer, OsqueueClient(url) as claimer, asyncio.TaskGroup() as group:
            producing = [group.create_task(produce(producer, history, rng, enough)) for _ in range(PRODUCERS)]
            working = [group.create_task(work(claimer, f"w{n}", history, rng)) for n in range(WORKERS)]
            for _ in range(KILLS):
                await history.grow(rng.randint(1, 600))
                await broker.kill()
                broker = await start_broker(children, tmp_path / "queue", port)
                if rng.random() < 0.3:  # and again while it recovers, or before it has even begun
                    await broker.kill()
                    broker = await start_broker(children, tmp_path / "queue", port)
                await serving(url, broker, START_LIMIT_S)
            await history.grow(200)
            enough.set()
            await asyncio.gather(*producing)
            for job_id in history.submitted:
                await producer.wait_job(job_id)
            for task in working:
                task.cancel()

        async with OsqueueClient(url) as client:
            await check(client, history)


async def check(client: OsqueueClient, history: History) -> None:
    assert len(set(history.submitted)) == len(history.submitted)
    gate = asyncio.Semaphore(32)

    async def look(job_id: str) -> None:
        async with gate:
            job = await client.get_job(job_id)
        outcomes = Counter(attempt.outcome for attempt in job.history)
        assert job.status == "completed", f"{job_id} was acknowledged and is {job.status}"
        assert outcomes["completed"] == 1, f"{job_id} was completed {outcomes['completed']} times"

    await asyncio.gather(*map(look, history.submitted))
    numbers = Counter((job_id, attempt) for _, job_id, attempt in history.claims)
    twice = [claim for claim, times in numbers.items() if times > 1]
    assert not twice, f"attempts handed out twice: {twice}"
    late = [
        (job_id, attempt)
        for asked_s, job_id, attempt in history.claims
        if asked_s > history.completed.get(job_id, float("inf"))
    ]
    assert not late, f"handed out after its completion was acknowledged: {late}"
    counts = (await client.get_stats()).counts
    assert counts.completed_total == counts.submitted_total >= len(history.submitted)
    assert counts.completed_total >= len(history.completed) > 0

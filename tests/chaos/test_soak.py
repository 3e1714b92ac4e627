"""A minute in which the leader is killed every five seconds, under a client and a worker of the SDK as they come.

Neither hears an error; nothing is lost; and by the log's own account nothing is finished twice.
"""

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from osqueue import OsqueueClient, Worker
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.model import Ending, Status
from tests.chaos.bell import Bell
from tests.chaos.cluster import Cluster
from tests.chaos.conftest import BUCKET
from tests.checkers.logbook import JobEntry, Logbook
from tests.servers import Server

INTERVAL_MS = 300
TIMEOUT_MS = 1_000

KILLS = 12
EVERY_S = 5.0

SUBMITTERS = 10
"""Tasks that submit through the one client, a job after the other."""
WAITERS = 10
"""Tasks that wait for the result of each job before they submit the next."""
SERVED = 50
"""Submissions that a leader has answered before it is killed, on however slow a machine."""
SERVED_LIMIT_S = 60
PAUSE_S = 0.05
HANDLER_S = 0.01


class Guest:
    """One client that submits, and what it was told."""

    def __init__(self, client: OsqueueClient, bell: Bell) -> None:
        self.client = client
        self.bell = bell
        self.told: dict[str, int] = {}
        """The number in each acknowledged job, by the job's id."""
        self.slowest_s = 0.0
        """The longest that one call took."""
        self.enough = asyncio.Event()
        self._numbers = itertools.count()

    async def served(self, count: int) -> None:
        """Return once so many more submissions have been answered."""
        goal = len(self.told) + count
        await self.bell.until(lambda: len(self.told) >= goal, f"{count} answers", SERVED_LIMIT_S)

    async def submit(self, *, wait: bool) -> None:
        """Submit until it is enough. Raises what a caller would see."""
        while not self.enough.is_set():
            number = next(self._numbers)
            began_s = time.monotonic()
            handle = await self.client.submit_job("soak", number)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            assert handle.id not in self.told
            self.told[handle.id] = number
            self.bell.ring()
            if wait:
                assert await handle.result() == -number
            else:
                await asyncio.sleep(PAUSE_S)


async def kill_leaders(cluster: Cluster, guest: Guest) -> None:
    """kill -9 whoever leads and serves, every five seconds, and have it back as a standby."""
    due_s = time.monotonic()
    for _ in range(KILLS):
        await guest.served(SERVED)
        due_s = max(due_s + EVERY_S, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
        leader = await cluster.leader()
        await leader.signal(signal.SIGKILL)
        await leader.ended()
        await cluster.start(leader)


def complaints(book: Logbook, told: dict[str, int]) -> Iterator[str]:
    """What the log says otherwise than the callers were told, or than should be."""
    yield from book.broken
    yield from (f"acknowledged, and not in the log: {job}" for job in told.keys() - book.jobs.keys())
    yield from (f"in the log, and nobody was told: {job}" for job in book.jobs.keys() - told.keys())
    for job in book.jobs.values():
        if job.status is not Status.COMPLETED or finished(job) != 1 or job.attempts != 1:
            yield f"finished {finished(job)} times: {job}"


def finished(job: JobEntry) -> int:
    return sum(claim.ending is Ending.COMPLETED for claim in job.claims)


@pytest.mark.timeout(300)
async def test_nobody_hears_of_leaders_that_die(seaweedfs: Server, folder: Path) -> None:
    handled: Counter[int] = Counter()

    async def handle(number: int) -> int:
        handled[number] += 1
        await asyncio.sleep(HANDLER_S)
        return -number

    timing = {"interval_ms": INTERVAL_MS, "timeout_ms": TIMEOUT_MS}
    async with Cluster(seaweedfs, BUCKET, "soak/", folder, Bell(), **timing) as cluster:
        await cluster.leader()
        async with OsqueueClient(cluster.addresses) as client, OsqueueClient(cluster.addresses) as consumer:
            guest, worker = Guest(client, cluster.bell), Worker(consumer, {"soak": handle})
            async with asyncio.TaskGroup() as tasks:  # ends at once when a caller hears an error
                working = tasks.create_task(worker.run(handle_signals=False))
                submitting = [tasks.create_task(guest.submit(wait=False)) for _ in range(SUBMITTERS)]
                submitting += [tasks.create_task(guest.submit(wait=True)) for _ in range(WAITERS)]
                await kill_leaders(cluster, guest)
                guest.enough.set()
                await asyncio.gather(*submitting)
                for job_id, number in guest.told.items():
                    job = await client.wait_job(job_id)
                    assert (job.status, job.result_value()) == ("completed", -number)
                counts = (await client.get_stats()).counts
                print(
                    f"{len(guest.told)} jobs through {cluster.witness.epoch} epochs; the slowest submission took "
                    f"{guest.slowest_s:.1f} s; calls tried again: {client.state().retries} by the client, "
                    f"{consumer.state().retries} by the worker"
                )
                worker.stop()
                await working
        brokers = [line for broker in cluster.brokers for line in broker.lines]
    book = Logbook.walk(cluster.witness.log.get, DEFAULT_LIMITS.default_max_attempts)
    wrong = [*complaints(book, guest.told), *(line for line in brokers if "Traceback" in line)]
    assert not wrong, f"{len(wrong)} complaints:\n" + "\n".join(wrong[:10])
    assert cluster.witness.epoch > KILLS
    assert counts.submitted_total == counts.completed_total == len(guest.told)
    tally = worker.tally
    assert (tally.claimed, tally.completed) == (len(guest.told), len(guest.told))
    assert tally.lost == tally.unsettled == tally.failed == tally.released == 0
    assert set(handled.values()) == {1}

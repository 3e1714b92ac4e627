"""A transport of one's own in seven methods: it produces, works and waits, and says what it cannot do."""

import pytest

from osqueue import OsqueueClient, SyncClient, TransportConfigError, Worker, new_job
from osqueue.transports.base import BaseTransport
from osqueue.transports.protocol import Transport
from tests.unit.sdk.memory_transport import MemoryTransport, Queue


class Mine(BaseTransport):
    """Over the queue in memory."""

    def __init__(self, queue, *, label=""):
        self.label = label
        self._real = MemoryTransport(queue)

    async def submit_jobs(self, jobs, **options):
        return await self._real.submit_jobs(jobs, **options)

    async def claim_jobs(self, request, **options):
        return await self._real.claim_jobs(request, **options)

    async def heartbeat_jobs(self, heartbeats, **options):
        return await self._real.heartbeat_jobs(heartbeats, **options)

    async def complete_jobs(self, completions, **options):
        return await self._real.complete_jobs(completions, **options)

    async def fail_job(self, failure, **options):
        return await self._real.fail_job(failure, **options)

    async def release_job(self, release, **options):
        return await self._real.release_job(release, **options)

    async def get_job(self, job_id, **options):
        return await self._real.get_job(job_id, **options)


@pytest.fixture
async def own(queue):
    async with OsqueueClient(transport=Mine(queue, label="a")) as client:
        yield client


def test_seven_methods_are_to_be_written():
    assert sorted(BaseTransport.__abstractmethods__) == [
        "claim_jobs", "complete_jobs", "fail_job", "get_job", "heartbeat_jobs", "release_job", "submit_jobs"
    ]  # fmt: skip


def test_it_has_whatever_a_transport_has():
    wanted = {name for name, each in vars(Transport).items() if callable(each) or isinstance(each, property)}
    assert {name for name in wanted if not name.startswith("_")} <= set(dir(BaseTransport))


async def test_it_produces_works_and_waits(own):
    tries = []

    async def flaky(payload):
        tries.append(payload)
        if len(tries) == 1:
            raise ValueError("again")
        return payload + 1

    jobs = [await own.submit_job("t", 1), *await own.submit_jobs([new_job("t", 2), new_job("t", 3)])]
    worker = Worker(own, {"t": flaky}, concurrency=1)
    await worker.run(until_idle=True, handle_signals=False)
    assert [await job.result(timeout_ms=5_000) for job in jobs] == [2, 3, 4]
    assert (worker.tally.completed, worker.tally.failed) == (3, 1)


async def test_its_leases_are_renewed_over_another_one(own, queue):
    queue.lease_ms = 300

    job = await own.submit_job("t", 1)
    worker = Worker(own, {"t": lambda payload, context: context.stopped.wait(0.4)})
    await worker.run(until_idle=True, handle_signals=False)
    assert (await job.job()).status == "completed"
    assert "heartbeat_jobs" in queue.calls


async def test_waiting_ends_with_the_time_or_the_job(own):
    job = await own.submit_job("t", 1)
    assert (await own.wait_job(job.id, timeout_ms=0)).status == "unclaimed"
    await Worker(own, {"t": lambda payload: payload}).run(until_idle=True, handle_signals=False)
    assert (await own.wait_job(job.id, timeout_ms=60_000)).status == "completed"


def test_another_one_is_made_of_the_same_arguments(queue):
    first = Mine(queue, label="a")
    second = first.clone()
    assert second is not first
    assert (type(second), second.label, second._real.queue) == (Mine, "a", queue)
    assert (second.name, second.address) == ("Mine", "")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda client: client.get_stats(), "get_stats"),
        (lambda client: client.cancel_job("j"), "cancel_job"),
        (lambda client: client.explain_job("j"), "explain_job"),
        (lambda client: client.get_info(), "ask, and so no answer to InfoRequest"),
        (lambda client: anext(client.list_jobs()), "list_jobs"),
        (lambda client: anext(client.watch()), "watch_jobs"),
        (lambda client: client.submit_workflow("w", []), "calls for workflows"),
        (lambda client: client.admin.pause(["t"]), "admin|operator"),
    ],
)
async def test_what_it_has_not_is_refused_by_name(own, call, name):
    with pytest.raises(TransportConfigError, match=f"'Mine' has no ({name})"):
        await call(own)


def test_one_that_is_not_complete_cannot_be_made(queue):
    class Half(BaseTransport):
        async def get_job(self, job_id, **options): ...

    with pytest.raises(TypeError, match="submit_jobs"):
        Half()


def test_a_synchronous_program_has_it_too():
    with SyncClient(transport=Mine(Queue())) as client:
        assert client.submit_job("t", 1).status() == "unclaimed"

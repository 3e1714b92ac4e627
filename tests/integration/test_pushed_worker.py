"""A worker over gRPC, which is pushed its jobs, and a broker."""

import asyncio
import threading

import pytest

from osqueue import Handler, OsqueueClient, Worker
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.testing.in_process import broker_in_process
from tests.calls import broker_over
from tests.unit.sdk.slow_relay import slow_relay


@pytest.fixture
async def broker():
    async with broker_in_process() as broker:
        yield broker


@pytest.fixture
async def client(broker):
    async with OsqueueClient(broker.address, retry_delay_ms=10) as client:
        yield client


class Running:
    """A worker that runs beside the test."""

    def __init__(self, client, handlers, **options):
        self.worker = Worker(client, handlers, **options)
        self.task = asyncio.ensure_future(self.worker.run(handle_signals=False))

    async def __aenter__(self):
        return self.worker

    async def __aexit__(self, *_):
        self.worker.stop()
        await self.task


async def test_a_worker_is_pushed_its_jobs(broker, client):
    handles = [await client.submit_job("double", number) for number in range(50)]
    async with Running(client, {"double": lambda payload: payload * 2}, concurrency=4):
        assert [await handle.result() for handle in handles] == [number * 2 for number in range(50)]
        (worker,) = [worker async for worker in client.admin.workers()]
        assert (worker.streaming, worker.types) == (True, ["double"])
        assert worker.slots >= 4  # and room for jobs that are sent ahead


async def test_every_kind_of_outcome(client):
    async def fail(payload):
        raise ValueError("no")

    failing = await client.submit_job("fail", 1, max_attempts=1)
    large = await client.submit_job("large", 1, max_attempts=1)
    fine = await client.submit_job("fine", 1)
    handlers = {"fail": fail, "large": lambda payload: "x" * 2**21, "fine": lambda payload: "fine"}
    worker = Worker(client, handlers)
    await worker.run(until_idle=True, handle_signals=False)
    assert (await failing.job()).error.type == "ValueError"
    assert (await large.job()).error.type == "InvalidResult"
    assert await fine.result() == "fine"


async def test_a_worker_until_idle_leaves_nothing(client):
    done = []

    async def chain(payload):
        done.append(payload)
        if payload:
            await client.submit_job("chain", payload - 1)

    await client.submit_job("chain", 5)
    await Worker(client, {"chain": chain}).run(until_idle=True, handle_signals=False)
    assert done == [5, 4, 3, 2, 1, 0]


async def test_a_job_on_its_way_is_not_idleness():
    """The stream's claim has it, and a claim for the next one finds none."""
    async with broker_over(MemoryStore(put_ms=300)) as broker, OsqueueClient(broker.address) as client:
        handle = await client.submit_job("t", 1)
        await Worker(client, {"t": lambda payload: payload}).run(until_idle=True, handle_signals=False)
        job = await handle.job()
        assert (job.status, job.attempt_number) == ("completed", 1)


async def test_follow_ups_travel_with_their_completion(client):
    def order(payload, context):
        context.follow_up("mail", {"order": payload})

    await client.submit_job("order", 7)
    worker = Worker(client, {"order": order, "mail": lambda payload: payload})
    await worker.run(until_idle=True, handle_signals=False)
    (mail,) = [job async for job in client.list_jobs(statuses=["completed"], types=["mail"])]
    assert mail.value() == {"order": 7}


async def test_a_type_with_slots_of_its_own_has_a_stream_of_its_own(client):
    handles = [await client.submit_job(name, 1) for name in ("a", "b", "a", "b")]
    handlers = {"a": Handler(lambda payload: "a", concurrency=1), "b": lambda payload: "b"}
    async with Running(client, handlers, concurrency=2):
        assert [await handle.result() for handle in handles] == ["a", "b", "a", "b"]
        (worker,) = [worker async for worker in client.admin.workers()]
        assert sorted(worker.types) == ["a", "b"]


async def test_a_cancelled_job_stops_its_handler_at_once(client):
    began, stopped = asyncio.Event(), asyncio.Event()

    async def wait(payload):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    handle = await client.submit_job("wait", 1, lease_ms=3_600_000)  # no renewal tells of it
    async with Running(client, {"wait": wait}):
        await began.wait()
        await handle.cancel()
        await stopped.wait()
    assert await handle.status() == "cancelled"


async def test_a_blocked_loop_gives_back_what_it_did_not_begin(client):
    """While a handler blocks the event loop, jobs that are pushed meanwhile go to others."""
    blocked, done = threading.Event(), threading.Event()

    async def block(payload):
        blocked.set()
        done.wait(20)

    async def quick(payload):
        return "other"

    await client.submit_job("any", "block")

    async def work_and_block():
        async with OsqueueClient(client.state().address) as mine, Running(mine, {"any": block}, concurrency=3):
            await asyncio.to_thread(blocked.wait)

    blocking = threading.Thread(target=lambda: asyncio.run(work_and_block()))
    blocking.start()
    await asyncio.to_thread(blocked.wait)
    handles = [await client.submit_job("any", "quick") for _ in range(5)]
    async with Running(client, {"any": quick}):
        assert [await handle.result(timeout_ms=15_000) for handle in handles] == ["other"] * 5
        assert {(await handle.job()).attempts for handle in handles} == {1}
    done.set()
    await asyncio.to_thread(blocking.join)


async def test_a_stopping_worker_leaves_no_job_behind(client):
    started = asyncio.Event()

    async def wait(payload):
        started.set()
        await asyncio.Event().wait()

    handles = [await client.submit_job("wait", 1) for _ in range(5)]
    async with Running(client, {"wait": wait}, concurrency=2, drain_timeout_ms=50):
        await started.wait()
    assert {await handle.status() for handle in handles} == {"unclaimed"}


async def test_a_job_on_its_way_to_a_worker_that_stops_goes_back(broker, client):
    """Claimed for a stream of which the worker has not heard anything yet."""
    handle = await client.submit_job("t", 1, max_attempts=1, lease_ms=3_600_000)
    async with (
        slow_relay(broker.address.removeprefix("grpc://"), 0.2) as (far, _),
        OsqueueClient(f"grpc://{far}") as distant,
        Running(distant, {"t": lambda payload: payload}) as worker,
    ):
        while await handle.status() != "in_progress":
            await asyncio.sleep(0)
        worker.stop()
    job = await handle.job()
    assert (job.status, job.attempts) == ("unclaimed", 0)

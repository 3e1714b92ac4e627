"""A worker's guard, as a process: a handler that holds the interpreter's lock, and one that kills its worker."""

import asyncio
import sys

import pytest

from osqueue import OsqueueClient
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import broker_in_process

pytestmark = pytest.mark.e2e

WORKER = """
import asyncio, ctypes, os, sys
from osqueue import OsqueueClient, Worker

async def calm(payload, context):
    await asyncio.sleep(payload)
    return context.attempt

def hold(payload):
    ctypes.PyDLL(None).usleep(int(payload * 1e6))  # without letting go of the interpreter's lock

async def die(payload):
    os._exit(9)

async def main():
    async with OsqueueClient(sys.argv[1]) as client:
        await Worker(client, {"calm": calm, "hold": hold, "die": die}, concurrency=8).run()

asyncio.run(main())
"""


@pytest.fixture
async def broker():
    async with broker_in_process() as broker:
        yield broker


@pytest.fixture
async def client(broker):
    async with OsqueueClient(broker.address) as client:
        yield client


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a worker's process."""
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return lambda address: asyncio.create_subprocess_exec(sys.executable, str(program), address)


async def ended(process):
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def running(client, count):
    while (await client.get_stats()).counts.in_progress != count:
        await asyncio.sleep(0.05)


@pytest.fixture(params=["grpc", "rest", "ws"])
async def address(request, broker):
    if request.param == "grpc":
        yield f"grpc://{broker.address}"
        return
    gateway = Gateway(GatewayConfig("127.0.0.1", 0, (broker.address,)))
    await gateway.start()
    yield f"{'http' if request.param == 'rest' else 'ws'}://127.0.0.1:{gateway.port}"
    await gateway.stop()


async def test_a_handler_that_holds_the_interpreters_lock_costs_nobody_a_lease(client, start, address):
    process = await start(address)
    try:
        neighbours = [await client.submit_job("calm", 11, lease_ms=6_000) for _ in range(2)]
        await running(client, 2)
        holder = await client.submit_job("hold", 9, lease_ms=6_000)
        assert [await handle.result(timeout_ms=60_000) for handle in neighbours] == [1, 1]
        assert await holder.result(timeout_ms=60_000) is None
        assert (await holder.job()).attempts == 1
    finally:
        await ended(process)


async def test_jobs_of_a_worker_that_died_go_back_at_once_and_count_for_nothing(client, start, broker):
    process = await start(broker.address)
    neighbours = [await client.submit_job("calm", 60, max_attempts=1) for _ in range(2)]
    await running(client, 2)
    poison = await client.submit_job("die", 1, max_attempts=1)
    assert await process.wait() == 9
    await running(client, 0)  # the leases last for thirty seconds
    jobs = [await handle.job() for handle in (*neighbours, poison)]
    assert [(job.status, job.attempts) for job in jobs] == [("unclaimed", 0)] * 3
    for handle in neighbours:
        await handle.cancel()
    process = await start(broker.address)
    assert await process.wait() == 9
    job = await client.wait_job(poison.id, 20_000)  # alone: this time it is to blame
    assert (job.status, job.error.type) == ("dead", "WorkerDied")

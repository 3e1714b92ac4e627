"""Connections that go dead without a word: nothing gets through, nobody hangs up, and new ones work."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from osqueue import OsqueueClient, Worker
from tests.conformance.transports.conftest import TOKEN
from tests.unit.sdk.half_open import half_open


@pytest.fixture(params=["grpc", "rest", "ws", "connect"])
def transport(request):
    return request.param


@pytest.fixture
async def way(site, transport):
    async with half_open(site.broker if transport == "grpc" else site.gateway) as way:
        yield way


@pytest.fixture
async def far(way, transport):
    """A client over that way."""
    scheme = "grpc" if transport == "grpc" else "http"
    async with OsqueueClient(f"{scheme}://{way.address}", transport=transport, token=TOKEN) as client:
        yield client


@asynccontextmanager
async def running(worker):
    run = asyncio.ensure_future(worker.run(handle_signals=False))
    yield
    worker.stop()
    worker.stop()
    await run


async def test_a_waiting_worker_finds_another_way(site, transport, way, far):
    near = site.client(transport)
    async with near, running(Worker(far, {"t": lambda payload: payload + 1})):
        await site.waiting_claims(1)
        way.forget()
        handle = await near.submit_job("t", 1, max_attempts=1)
        assert await handle.result(timeout_ms=12_000) == 2


async def test_a_running_job_keeps_its_lease(site, transport, way, far):
    near, ends = site.client(transport), asyncio.Event()

    async def long(payload):
        await ends.wait()

    worker = Worker(far, {"t": long})
    async with near, running(worker):
        handle = await near.submit_job("t", 1, lease_ms=9_000)
        while worker.state().leases_renewed < 1:
            await asyncio.sleep(0.05)
        way.forget()
        opened, renewed = way.opened, worker.state().leases_renewed
        while worker.state().leases_renewed < renewed + 2:
            await asyncio.sleep(0.05)
        assert way.opened > opened
        ends.set()
        await handle.result()
        assert (await handle.job()).attempts == 1

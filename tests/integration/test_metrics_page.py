"""A broker that runs alone tells its figures over HTTP."""

import socket

import aiohttp
import grpc
import pytest

from osqueue_service.errors import ConfigError
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_broker_shows_its_metrics_and_whether_it_leads() -> None:
    port = free_port()
    async with broker_in_process(settings={"BROKER_METRICS_PORT": str(port)}) as app:
        async with grpc.aio.insecure_channel(app.address) as channel:
            await queue_pb2_grpc.QueueServiceStub(channel).SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/metrics") as page:
                text = await page.text()
            assert 'osqueue_jobs{status="unclaimed"} 1' in text
            for path, status in (("/healthz", 200), ("/readyz", 200), ("/jobs", 404)):
                async with session.get(path) as answer:
                    assert answer.status == status


async def test_a_taken_metrics_port_stops_the_start_naming_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"BROKER_METRICS_PORT.*{port}"):
            async with broker_in_process(settings={"BROKER_METRICS_PORT": str(port)}):
                pass

"""A broker and a gateway in one process."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest

import osqueue
import osqueue_service
from osqueue_server import BrokerServer
from osqueue_service.config import Settings
from osqueue_service.errors import BrokerLeadershipError, ConfigError
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc
from tests.integration.test_broker_server import Remote

TLS = Path(__file__).parent / "tls"


@asynccontextmanager
async def served(storage: object = None, **options: object) -> AsyncIterator[BrokerServer]:
    defaults = {"host": "127.0.0.1", "heartbeat_interval_ms": 50, "heartbeat_timeout_ms": 200, "http_port": 0}
    server = BrokerServer(storage or MemoryStore(), port=0, **(defaults | options))  # type: ignore[arg-type]
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_job_that_comes_by_http_is_claimed_by_grpc(scheme: str) -> None:
    async with (
        served() as server,
        osqueue.OsqueueClient(f"{scheme}://{server.http_address}") as producer,
        osqueue.OsqueueClient(f"grpc://{server.address}") as worker,
    ):
        job = await producer.submit_job("email", {"to": "ada"})
        claimed = await worker.claim_job("w")
        assert claimed is not None and claimed.job_id == job.id


@pytest.mark.parametrize("scheme", ["grpc", "http", "ws"])
async def test_a_raised_limit_holds_over_every_protocol(scheme: str) -> None:
    """A payload that JSON in base64 makes half as large again comes, goes out to its worker, and is read back."""
    size = 7 << 20
    raised = {name: str(8 << 20) for name in ("PAYLOAD_BYTES", "RESULT_BYTES", "MESSAGE_BYTES")}
    settings = Settings.read({f"OSQUEUE_LIMIT_{name}": value for name, value in raised.items()})
    async with served(limits=settings.limits) as server:
        url = f"grpc://{server.address}" if scheme == "grpc" else f"{scheme}://{server.http_address}"
        async with osqueue.OsqueueClient(url) as client:
            job = await client.submit_job("big", os.urandom(size))
            claimed = await client.claim_job("w")
            assert claimed is not None and len(claimed.payload) == size
            await client.complete_job(claimed, os.urandom(size))
            result = (await client.get_job(job.id)).result
            assert result is not None and len(result) == size


async def test_connect_is_served_too() -> None:
    async with served() as server, aiohttp.ClientSession() as session:
        url = f"http://{server.http_address}/osqueue.v1.QueueService/SubmitJob"
        async with session.post(url, json={"payload": "e30=", "type": "email"}) as answer:
            assert answer.status == 200 and (await answer.json())["jobId"]


async def test_without_a_port_for_http_there_is_none() -> None:
    async with served(http_port=None) as server:
        assert server.http_address == ""
        assert server.is_leader


async def test_no_proxy_comes_between_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with served(host="0.0.0.0", allow_remote=True) as server, aiohttp.ClientSession() as session:
        port = server.http_address.rpartition(":")[2]
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200


async def test_tls_and_a_token_on_the_way_to_others_do_not_keep_the_two_apart() -> None:
    options = {"tls_cert_file": str(TLS / "localhost.crt"), "tls_key_file": str(TLS / "localhost.key")}
    trusted = grpc.ssl_channel_credentials((TLS / "localhost.crt").read_bytes())
    bearer = {"authorization": "Bearer s3cret"}
    async with served(token="s3cret", **options) as server, aiohttp.ClientSession(headers=bearer) as session:
        url = f"http://{server.http_address}/v1/jobs"
        async with session.post(url, json={"payload": 1}) as answer:
            assert answer.status == 200
        async with session.post(url, json={"payload": 1}, headers={"authorization": "Bearer wrong"}) as answer:
            assert answer.status == 401
        async with grpc.aio.secure_channel(f"localhost:{server.address.rpartition(':')[2]}", trusted) as channel:
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            call = queue.GetStats(queue_pb2.GetStatsRequest(), metadata=tuple(bearer.items()))
            assert (await call).total == 1


async def test_the_gateway_of_a_standby_serves_from_the_leader() -> None:
    bucket = MemoryBucket()
    never = {"heartbeat_interval_ms": 100_000, "heartbeat_timeout_ms": 400_000}
    async with served(Remote(bucket), **never) as leader:
        second = BrokerServer(Remote(bucket), host="127.0.0.1", port=0, http_port=0, **never)  # type: ignore[arg-type]
        await second.start(stand_by=True)
        async with osqueue.OsqueueClient(f"http://{second.http_address}") as client:
            await client.submit_job("email", 1)
        assert leader.is_leader and not second.is_leader
        await second.stop()


async def test_what_the_store_says_of_http_is_the_gateways_port() -> None:
    async with served() as server:
        assert server._app is not None
        assert server._app.broker.root.broker.endswith(server.http_address)


async def test_a_port_that_is_taken_is_named_and_leaves_nothing_behind() -> None:
    store = MemoryStore()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="BROKER_PORT"):
            async with served(store, http_port=taken.getsockname()[1]):
                pass
    async with served(store) as first:
        with pytest.raises(BrokerLeadershipError, match=first.address):
            async with served(store):
                pass
    async with served(store) as again:
        assert again.is_leader


async def test_stopping_removes_the_way_between_the_two() -> None:
    async with served() as server:
        assert server._service is not None
        directory = server._service._directory
        assert directory is not None and os.stat(directory).st_mode & 0o077 == 0
    assert not directory.exists()
    assert not server.is_running and server.http_address == ""


async def test_waiting_claims_are_answered_when_it_stops() -> None:
    async with served() as server, aiohttp.ClientSession() as session:
        claim = {"workerId": "w", "waitMs": 60_000}
        waiting = asyncio.ensure_future(session.post(f"http://{server.http_address}/v1/jobs/claim", json=claim))
        assert server._app is not None
        engine = server._app.broker.engine
        while not engine.waiting_claims:
            await asyncio.sleep(0)
        await server.stop()
        answer = await waiting
        assert (answer.status, await answer.json()) == (200, {})


def test_it_is_the_broker_server_of_the_broker() -> None:
    assert issubclass(BrokerServer, osqueue_service.BrokerServer)

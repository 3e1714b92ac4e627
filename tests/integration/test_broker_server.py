"""A broker as a library."""

import asyncio
import inspect
import socket
from pathlib import Path

import aiohttp
import grpc
import pytest

import osqueue
from osqueue_cli.processes import free_ports
from osqueue_service import BrokerServer
from osqueue_service.clock import SystemClock
from osqueue_service.errors import BrokerLeadershipError, ConfigError
from osqueue_service.outward import outward_host
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.store import ObjectStore
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc


class Remote:
    """A store that says nothing of who else uses it, as a bucket does."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._inner: ObjectStore = MemoryStore(bucket)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def server(storage: object, **options: object) -> BrokerServer:
    defaults = {"host": "127.0.0.1", "heartbeat_interval_ms": 50, "heartbeat_timeout_ms": 200}
    return BrokerServer(storage, port=0, **(defaults | options))  # type: ignore[arg-type]


async def test_it_serves_a_queue_that_outlives_it(tmp_path: Path) -> None:
    for expected in (0, 1):
        store = FileStore.open(tmp_path / "queue")
        broker = server(store)
        await broker.start()
        assert broker.is_running and broker.is_leader
        async with osqueue.OsqueueClient(f"grpc://{broker.address}") as client:
            assert (await client.get_stats()).counts.total == expected
            await client.submit_job("email", {"to": "ada@example.org"})
        await broker.stop()
        assert not broker.is_running and broker.address == ""
        await store.close()


async def test_a_second_broker_is_refused_while_another_is_active() -> None:
    bucket = MemoryBucket()
    first = server(Remote(bucket))
    await first.start()
    second = server(Remote(bucket))
    with pytest.raises(BrokerLeadershipError, match=first.address):
        await second.start()
    assert not second.is_running
    await first.stop()


async def test_a_second_broker_stands_by_when_asked_and_takes_over() -> None:
    bucket = MemoryBucket()
    first, second = server(Remote(bucket)), server(Remote(bucket))
    await first.start()
    async with osqueue.OsqueueClient(f"grpc://{first.address}") as client:
        job = await client.submit_job("email", 1)
    await second.start(stand_by=True)
    assert second.is_running and not second.is_leader
    await first.stop()
    async with osqueue.OsqueueClient(f"grpc://{second.address}") as client:
        assert await (osqueue.JobHandle(client, job.id, False, None)).status() == "unclaimed"
    assert second.is_leader
    await second.stop()


async def test_a_standby_attends_its_leader_and_hears_at_once_when_it_leaves() -> None:
    bucket = MemoryBucket()
    never = {"heartbeat_interval_ms": 100_000, "heartbeat_timeout_ms": 400_000}
    first, second = server(Remote(bucket), **never), server(Remote(bucket), **never)
    await first.start()
    # Were it to watch the root alone, it would find out in a minute.
    second._poll_ms = 60_000
    async with osqueue.OsqueueClient(f"grpc://{first.address}") as client:
        await client.submit_job("email", 1)
        await second.start(stand_by=True)
        assert first._app is not None and second._app is not None
        leader, standby = first._app.broker, second._app.broker
        standbys = leader.standbys
        async with asyncio.timeout(10):
            while not (len(standbys) and standbys._attending[0].followed):
                standbys._news.clear()
                await standbys._news.wait()
        (known,) = standbys._attending
        assert (known.address, known.followed) == (second.address, standby.followed)
        async with asyncio.timeout(10):
            await asyncio.gather(first.stop(), standby.leading())
    assert standby.counters.takeovers_followed == 1
    await second.stop()


@pytest.mark.parametrize("stand_by", [False, True])
@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_store_of_one_process_has_one_broker_at_a_time(kind: str, stand_by: bool, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else FileStore.open(tmp_path / "queue")
    first, second = server(store), server(store)
    await first.start()
    with pytest.raises(BrokerLeadershipError, match="in use"):
        await second.start(stand_by=stand_by)
    assert first.is_leader and not second.is_running
    await first.stop()
    await second.start()
    assert second.is_leader
    await second.stop()
    await store.close()


async def test_stores_over_one_bucket_in_memory_have_one_broker_together() -> None:
    bucket = MemoryBucket()
    first, second = server(MemoryStore(bucket)), server(MemoryStore(bucket))
    await first.start()
    with pytest.raises(BrokerLeadershipError, match=first.address):
        await second.start()
    await first.stop()
    await second.start()
    await second.stop()


async def test_a_start_that_fails_leaves_the_store_to_the_next(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path / "queue")
    with pytest.raises(ConfigError, match="OSQUEUE_TLS_CERT_FILE"):
        await server(store, tls_cert_file="/nowhere", tls_key_file="/nowhere").start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="BROKER_METRICS_PORT"):
            await server(store, metrics_port=taken.getsockname()[1]).start()
    broker = server(store)
    await broker.start()
    await broker.stop()
    await store.close()


async def test_it_has_what_a_broker_in_a_process_of_its_own_has() -> None:
    here = Path(__file__).parent / "tls"
    (metrics_port,) = free_ports(1)
    broker = server(
        MemoryStore(),
        tls_cert_file=str(here / "localhost.crt"),
        tls_key_file=str(here / "localhost.key"),
        metrics_port=metrics_port,
        max_writes_per_day=1,
        max_writes_per_minute=60_000,
        storage_prices="s3",
        warm_standby=False,
    )
    await broker.start()
    trusted = grpc.ssl_channel_credentials((here / "localhost.crt").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{broker.address.rpartition(':')[2]}", trusted) as channel:
        stats = await admin_pb2_grpc.AdminServiceStub(channel).GetStorageStats(admin_pb2.GetStorageStatsRequest())
    assert stats.throttle.daily_budget_exceeded and stats.cost.requests > 0
    async with aiohttp.ClientSession() as session:
        for page in ("metrics", "readyz"):
            async with session.get(f"http://127.0.0.1:{metrics_port}/{page}") as answer:
                assert answer.status == 200
    await broker.stop()


def test_its_signature_is_the_published_one() -> None:
    parameters = list(inspect.signature(BrokerServer).parameters.values())
    positional = [(each.name, each.default) for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == [
        ("storage", inspect.Parameter.empty),
        ("host", "0.0.0.0"),
        ("port", 8081),
        ("heartbeat_interval_ms", 3_000),
        ("heartbeat_timeout_ms", 10_000),
        ("group_commit_interval_ms", 50),
    ]
    assert all(each.kind is each.KEYWORD_ONLY for each in parameters[len(positional) :])


def test_an_interval_not_below_the_timeout_is_refused() -> None:
    with pytest.raises(ConfigError, match="heartbeat_interval_ms"):
        BrokerServer(MemoryStore(), heartbeat_interval_ms=1_000, heartbeat_timeout_ms=1_000)


async def test_a_wildcard_host_on_a_shared_store_is_told_as_an_address_that_others_can_dial() -> None:
    broker = server(Remote(MemoryBucket()), host="0.0.0.0")
    await broker.start()
    host, _, port = broker.address.rpartition(":")
    assert host == (outward_host() or "127.0.0.1") and int(port) > 0
    await broker.stop()


async def test_a_wildcard_host_on_a_store_of_this_machine_is_told_as_the_loopback() -> None:
    broker = server(MemoryStore(), host="0.0.0.0")
    await broker.start()
    assert broker.address.startswith("127.0.0.1:")
    await broker.stop()


@pytest.mark.parametrize("interval_ms", [0, 49, 50, 51])
async def test_whatever_the_group_commit_interval_a_lone_submit_waits_for_nobody(interval_ms: int) -> None:
    broker = server(MemoryStore(), group_commit_interval_ms=interval_ms)
    await broker.start()
    assert broker._app is not None
    pacing = broker._app.broker.engine._pacing
    async with osqueue.OsqueueClient(f"grpc://{broker.address}") as client:
        for number in range(3):
            await client.submit_job("email", number)
            assert pacing.company_ms(1, SystemClock().monotonic_ms()) <= 0
    await broker.stop()

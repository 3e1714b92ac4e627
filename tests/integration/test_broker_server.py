"""A broker as a library."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import osqueue
from osqueue_service import BrokerServer
from osqueue_service.errors import BrokerLeadershipError, ConfigError
from osqueue_service.outward import outward_host
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.store import ObjectStore


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
    second._heartbeat = replace(second._heartbeat, poll_ms=60_000)
    async with osqueue.OsqueueClient(f"grpc://{first.address}") as client:
        await client.submit_job("email", 1)
        await second.start(stand_by=True)
        leader, standby = first._broker, second._broker
        assert leader is not None and standby is not None
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
    assert broker._broker is not None
    pacing = broker._broker.engine._pacing
    async with osqueue.OsqueueClient(f"grpc://{broker.address}") as client:
        for number in range(3):
            await client.submit_job("email", number)
            assert pacing.company_ms(callers=1) <= 0
    await broker.stop()

"""Queues with names through crashes, hand-overs and late writes, on a clock of their own."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from osqueue_service.errors import FeatureUnavailable, NotLeader, QueueNotFound, StorageUnavailable, TooManyRequests
from osqueue_service.limits import Limits
from osqueue_service.log.paths import ROOT
from osqueue_service.log.root import NamedQueue, Root, decode_root
from osqueue_service.queues.queue_store import data_prefix, root_key
from osqueue_service.state.commands import Submit
from osqueue_service.state.features import QUEUES, UNDERSTOOD
from osqueue_service.state.model import JobSpec
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from tests.unit.leadership.brokers import HEARTBEAT, pass_ms
from tests.unit.life import Life
from tests.unit.log.virtual import run


async def submit(life: Life, name: str) -> str:
    """A job in the queue of this name; its id once it is durable."""
    queue = await life.broker.queues.open(name)
    (answer,) = await queue.engine.execute(Submit([JobSpec("t", b"{}")]))
    job_id: str = answer.job_id
    return job_id


async def knows(life: Life, name: str, job_id: str) -> bool:
    engine = (await life.broker.queues.open(name)).engine
    return engine._state.find(job_id) is not None


async def keys(bucket: MemoryBucket, prefix: str) -> list[str]:
    return list(await MemoryStore(bucket).list_after(prefix, "", 1_000))


async def settled(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(60):
        while not await condition():
            await pass_ms(10)


def test_whoever_leads_next_goes_on_with_every_queue() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        for name in ("emails", "images"):
            await first.broker.queues.create(name)
        job_id = await submit(first, "emails")
        first.freeze()
        second = await Life(bucket, "b").lead()
        assert await knows(second, "emails", job_id)
        assert (await second.broker.queues.open("emails")).term.epoch == 3
        assert await submit(second, "images")

    run(scenario())


def test_queues_in_use_are_opened_by_the_next_leader_unasked() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        for name in ("used", "unused"):
            await first.broker.queues.create(name)
        await submit(first, "used")
        first.freeze()
        second = await Life(bucket, "b").lead()

        async def is_open() -> bool:
            return second.broker.queues.find("used") is not None

        await settled(is_open)
        assert second.broker.queues.find("unused") is None
        assert await keys(bucket, "warm/") == ["warm/used/0000000003"] or len(await keys(bucket, "warm/")) == 2

    run(scenario())


def test_a_leader_that_was_frozen_answers_for_no_queue_once_another_may_lead() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        await first.broker.queues.create("emails")
        await submit(first, "emails")
        queue = await first.broker.queues.open("emails")
        first.freeze()
        await pass_ms(HEARTBEAT.lease_ms + 1)
        assert not queue.term.is_live()
        second = await Life(bucket, "b").lead()
        await submit(second, "emails")
        submitting = asyncio.ensure_future(queue.engine.execute(Submit([JobSpec("t", b"late")])))
        first.thaw()
        with pytest.raises(Exception, match=r"leader|leads|not known"):
            await submitting
        assert not queue.is_leader
        with pytest.raises(NotLeader):
            await first.broker.queues.open("emails")

    run(scenario())


def test_a_swap_that_comes_late_deposes_nobody_for_long() -> None:
    """A leader was about to open a queue when it froze; its swap of the root lands when another has the queue."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        await first.broker.queues.create("emails")
        first.store.hold(lambda operation, key: operation == "swap" and key in (ROOT, root_key("emails")))
        opening = asyncio.ensure_future(first.broker.queues.open("emails"))
        await first.store.reached.wait()
        second = await Life(bucket, "b").lead()
        job_id = await submit(second, "emails")
        first.thaw()
        with pytest.raises(NotLeader):
            await opening
        await pass_ms(1_000)
        assert await knows(second, "emails", job_id)
        assert await submit(second, "emails")

    run(scenario())


def test_a_hand_over_answers_everybody_and_leaves_every_queue() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        await first.broker.queues.create("emails")
        job_id = await submit(first, "emails")
        second = Life(bucket, "b")
        await second.broker.start()
        await pass_ms(1_000)
        began = asyncio.get_running_loop().time()
        await first.broker.stop()
        await second.broker.leading()
        assert await knows(second, "emails", job_id)
        assert (asyncio.get_running_loop().time() - began) * 1_000 < HEARTBEAT.timeout_ms / 2

    run(scenario())


def test_a_queue_with_a_name_is_never_renewed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        await leader.broker.queues.create("emails")
        await submit(leader, "emails")
        store = MemoryStore(bucket)
        before = await store.read(root_key("emails"))
        await pass_ms(20 * HEARTBEAT.timeout_ms)
        assert await store.read(root_key("emails")) == before
        assert (await leader.broker.queues.open("emails")).term.is_live()

    run(scenario())


def test_a_deleted_queue_leaves_fences_alone_and_its_name_free() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        created, _ = await leader.broker.queues.create("emails")
        job_id = await submit(leader, "emails")
        uid = created.root.uid or ""
        assert await leader.broker.queues.delete("emails", force=True) == 1

        async def is_gone() -> bool:
            return await keys(bucket, "warm/") == []

        await settled(is_gone)
        left = await keys(bucket, data_prefix(uid))
        assert len(left) == 1 and "/log/" in left[0]  # the fence of the lane before
        with pytest.raises(QueueNotFound):
            await leader.broker.queues.open("emails")
        again, is_new = await leader.broker.queues.create("emails")
        assert is_new and again.root.uid != uid and again.root.epoch > created.root.epoch
        assert not await knows(leader, "emails", job_id)

    run(scenario())


def test_what_is_left_of_a_deleted_queue_goes_with_the_next_leader() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        created, _ = await first.broker.queues.create("emails")
        await submit(first, "emails")
        first.store.hold(lambda operation, key: operation == "delete")
        await first.broker.queues.delete("emails", force=True)
        first.freeze()
        second = await Life(bucket, "b").lead()

        async def is_gone() -> bool:
            return await keys(bucket, "warm/") == []

        await settled(is_gone)
        assert len(await keys(bucket, data_prefix(created.root.uid or ""))) == 1
        assert second.broker.is_leader

    run(scenario())


def test_a_damaged_queue_is_halted_and_the_others_go_on() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        for name in ("broken", "whole"):
            await first.broker.queues.create(name)
            await submit(first, name)
        uid = (await first.broker.queues.open("broken")).root.uid or ""
        first.freeze()
        store = MemoryStore(bucket)
        log = await keys(bucket, data_prefix(uid) + "log/")
        found = await store.read(log[0])
        assert found is not None
        await store.put_if_version(log[0], found.body[:-1] + b"!", found.version)
        second = await Life(bucket, "b").lead()
        with pytest.raises(StorageUnavailable, match=r"the queue broken is halted: .*log/"):
            await second.broker.queues.open("broken")
        assert await submit(second, "whole")
        assert await second.submit()
        await store.put_if_version(log[0], found.body, (await store.read(log[0])).version)  # type: ignore[union-attr]
        await pass_ms(30_001)
        assert await submit(second, "broken")

    run(scenario())


def test_no_queue_is_created_while_a_standby_could_not_lead_it() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        leader.broker.standbys.enter("old:8081", 0, "0.1.0", UNDERSTOOD - {QUEUES})
        with pytest.raises(FeatureUnavailable, match="old:8081"):
            await leader.broker.queues.create("emails")
        assert await keys(bucket, "queues/") == []
        assert QUEUES not in leader.broker.root.needs

    run(scenario())


def test_roots_of_named_queues_say_what_they_are_of() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        await leader.broker.queues.create("emails", description="to customers", max_jobs=5)
        await leader.broker.queues.open("emails")
        found = await MemoryStore(bucket).read(root_key("emails"))
        assert found is not None
        root = decode_root(found.body)
        assert isinstance(root.queue, NamedQueue)  # type: ignore[union-attr]
        assert (root.queue.name, root.queue.description, root.queue.max_jobs) == ("emails", "to customers", 5)  # type: ignore[union-attr]
        default = await MemoryStore(bucket).read(ROOT)
        assert default is not None and b'"queue"' not in default.body

    run(scenario())


def test_a_queue_that_nobody_uses_is_parked_and_opened_by_the_next_call() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        queues = leader.broker.queues
        await queues.create("emails")
        await queues.create("busy")
        await submit(leader, "busy")
        opened = await queues.open("emails")
        with opened.in_use():
            await pass_ms(3 * leader.broker.limits.idle_queue_ms)
            assert queues.find("emails") is opened
        await pass_ms(2 * leader.broker.limits.idle_queue_ms)
        assert queues.find("emails") is None
        assert queues.find("busy") is not None
        assert [key.split("/")[1] for key in await keys(bucket, "warm/")] == ["busy"]
        found = await queues.catalogue.read("emails")
        assert (found.root.broker, found.root.member) == (None, None)
        began_ms = leader.broker._clock.monotonic_ms()
        assert await submit(leader, "emails")
        assert leader.broker._clock.monotonic_ms() - began_ms < 200  # a put takes 10 ms here, a read 5 ms
        assert (await queues.open("emails")).term.epoch == found.root.epoch + 1

    run(scenario())


def test_the_queue_idle_for_longest_makes_room_for_another() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = Life(bucket, "a")
        leader.broker.queues._host = replace(leader.broker.queues._host, limits=Limits(open_queues=2))
        await leader.lead()
        queues = leader.broker.queues
        for name in ("one", "two", "three"):
            await queues.create(name)
        await queues.open("one")
        await pass_ms(10)
        await queues.open("two")
        await pass_ms(2_000)
        await queues.open("three")
        assert sorted(queue.name for queue in queues) == ["three", "two"]
        await submit(leader, "two")
        await submit(leader, "three")
        with pytest.raises(TooManyRequests, match="open_queues"):
            await queues.open("one")

    run(scenario())


def test_the_root_of_a_named_queue_keeps_its_form() -> None:
    body = (Path(__file__).parent / "frozen" / "named-root-1.json").read_bytes()
    root = decode_root(body)
    assert isinstance(root, Root) and isinstance(root.queue, NamedQueue)
    assert root.encode() == body
    assert (root.uid, root.member, root.epoch) == ("u" * 26, "m" * 26, 7)
    assert root.queue == NamedQueue(name="emails", created_at=1_700_000_000_000, description="to customers", max_jobs=5)

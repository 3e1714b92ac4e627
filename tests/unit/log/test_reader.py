"""Looking at a queue without taking part, and telling what is wrong with it."""

import asyncio
import os

import pytest

from osqueue_service.errors import CorruptObject, StorageUnavailable
from osqueue_service.leadership import Term
from osqueue_service.log import Position, Reader, Reading, Report, SeedQueue, verify
from osqueue_service.log.paths import ROOT, checkpoint_key, segment_key
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import TestBroker, kill, pass_ms, root_of
from tests.unit.log.fixtures import Recording, fence, lay, segment, settler_over
from tests.unit.log.virtual import run


async def led(bucket: MemoryBucket, name: str = "a") -> Term:
    return await TestBroker(bucket, name).elect(skip_wait=True)


async def queue(bucket: MemoryBucket) -> Term:
    """Epoch 1: a checkpoint at 3 in an object, then segments 4 to 9. Epoch 2: segments 11 to 16."""
    first = await led(bucket)
    for text in (b"2", b"3"):
        await first.appender.append(text, 1)
    await first.publish_checkpoint(3, [b"2 3", os.urandom(300_000)], 0)
    for sequence in range(4, 10):
        await first.appender.append(b"%d" % sequence, 1)
    await pass_ms(200)
    kill(first)
    second = await led(bucket, "b")
    for sequence in range(11, 17):
        await second.appender.append(b"%d" % sequence, 1)
    return second


async def read(bucket: MemoryBucket) -> tuple[Recording, Reading]:
    state = Recording()
    reading = await Reader(settler_over(bucket)).read(state)
    assert isinstance(reading, Reading)
    return state, reading


async def verified(bucket: MemoryBucket) -> Report:
    return await verify(settler_over(bucket), Recording())


def test_a_reader_sees_what_a_takeover_would() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await queue(bucket)
        state, reading = await read(bucket)
        assert state.chunks[0] == b"2 3"
        assert [records for _, records in state.applied] == [b"%d" % n for n in (*range(4, 10), *range(11, 17))]
        assert reading.position.hash == leader.appender.released.hash
        assert (reading.segments, reading.fences) == (12, 1)
        assert leader.is_live()

    run(scenario())


def test_an_empty_store_and_a_seeds_queue() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        assert await Reader(settler_over(bucket)).read(Recording()) is None
        assert (await verified(bucket)).sound
        bucket.overwrite(ROOT, b'{"broker":null,"jobs":[{"id":"x"}]}')
        assert isinstance(await Reader(settler_over(bucket)).read(Recording()), SeedQueue)
        report = await verified(bucket)
        assert report.sound
        assert report.seed is not None

    run(scenario())


def test_a_reader_begins_again_when_the_checkpoint_is_superseded() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await queue(bucket)
        settler = settler_over(bucket, read_ms=500)
        state = Recording()
        reading = asyncio.ensure_future(Reader(settler).read(state))
        await pass_ms(800)  # it has the root, and asks for a checkpoint that is about to go
        await leader.publish_checkpoint(16, b"all of it", 0)
        await leader.appender.append(b"17", 1)
        found = await reading
        assert isinstance(found, Reading)
        assert state.begun == 2
        assert state.chunks == [b"all of it"]
        assert [records for _, records in state.applied] == [b"17"]

    run(scenario())


def test_a_reader_that_is_never_fast_enough_says_so() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await queue(bucket)

        async def publish_all_the_time() -> None:
            while True:
                sequence = await leader.appender.append(b"x", 1)
                await leader.publish_checkpoint(sequence, b"image", 0)

        busy = asyncio.ensure_future(publish_all_the_time())
        with pytest.raises(StorageUnavailable, match="superseded"):
            await Reader(settler_over(bucket, read_ms=500)).read(Recording())
        busy.cancel()

    run(scenario())


def test_damage_that_the_root_vouches_for_is_named() -> None:
    async def scenario() -> None:
        for key in (segment_key(1, 5), checkpoint_key(3, 1, 0)):
            bucket = MemoryBucket()
            kill(await queue(bucket))
            bucket.overwrite(key, b"rubbish")
            with pytest.raises(CorruptObject) as caught:
                await Reader(settler_over(bucket)).read(Recording())
            assert caught.value.key == key
            report = await verified(bucket)
            assert not report.sound
            assert [finding.key for finding in report.findings] == [key]

    run(scenario())


def test_a_sound_queue_verifies() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await queue(bucket)
        report = await verified(bucket)
        assert report.findings == []
        assert report.sound
        assert report.fences == 2
        assert report.objects == 2 + 12 + 1
        assert report.leftovers == 0

    run(scenario())


@pytest.mark.parametrize("lost", [segment_key(1, 7), segment_key(1, 10), segment_key(2, 12)])
def test_a_lost_object_is_found_by_what_it_led_to(lost: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await queue(bucket))
        bucket.remove(lost)
        report = await verified(bucket)
        assert not report.sound
        assert any(lost in f"{finding.key} {finding.problem}" for finding in report.findings)

    run(scenario())


def test_leftovers_and_strangers_are_told_apart_from_damage() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await queue(bucket))
        lay(bucket, segment(Position(1, 12, bytes(32))))  # a pipeline's, behind the fence that ended its lane
        lay(bucket, segment(Position(1, 1, bytes(32))))
        bucket.overwrite("checkpoints/0000000000000002-0000000001/00000", b"superseded")
        bucket.overwrite("log/readme", b"?")
        bucket.overwrite("checkpoints/readme", b"?")
        bucket.overwrite(segment_key(1, 12), b"rubbish behind the fence")
        report = await verified(bucket)
        assert report.sound
        assert report.leftovers == 3
        assert {finding.key for finding in report.findings} == {"log/readme", "checkpoints/readme", segment_key(1, 12)}

    run(scenario())


def test_a_takeover_during_a_verification_is_no_damage() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await queue(bucket))
        settler = settler_over(bucket, read_ms=100)
        verification = asyncio.ensure_future(verify(settler, Recording()))
        while settler.counters.segments_replayed < 12:
            await pass_ms(10)
        await pass_ms(450)
        successor = await led(bucket, "c")
        await successor.appender.append(b"18", 1)
        report = await verification
        assert report.findings == []

    run(scenario())


def test_a_log_without_a_root_is_an_error() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        lay(bucket, fence(Position(0, 0, bytes(32)), 1))
        bucket.overwrite(checkpoint_key(3, 1, 0), b"?")
        report = await verified(bucket)
        assert [finding.key for finding in report.findings] == [segment_key(0, 1), checkpoint_key(3, 1, 0)]
        assert all("restore queue.json" in finding.problem for finding in report.findings)

    run(scenario())


def test_findings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osqueue_service.log.verification.FINDINGS_MAX", 3)

    async def scenario() -> None:
        bucket = MemoryBucket()
        await queue(bucket)
        for n in range(10):
            bucket.overwrite(f"log/stranger{n}", b"?")
        report = await verified(bucket)
        assert len(report.findings) == 3
        assert report.findings_dropped == 7
        assert root_of(bucket).epoch == 2

    run(scenario())

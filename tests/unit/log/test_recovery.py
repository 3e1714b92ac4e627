"""Replaying the log: across lanes, to a gap that is proved, verifying every link."""

import pytest

from osqueue_service.errors import CorruptObject, Deposed
from osqueue_service.log import Position, Replay, Settler
from osqueue_service.log.paths import segment_key
from osqueue_service.log.recovery import RECOVERY_WINDOW
from osqueue_service.log.segment import decode
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.unit.log.fixtures import FENCE, OTHER, fence, lay, segment, settler_over
from tests.unit.log.virtual import VirtualClock, run


def lay_lane(bucket: MemoryBucket, after: Position, *records: bytes) -> Position:
    for text in records:
        after = lay(bucket, segment(after, text, settled=max(0, after.sequence - 1)))
    return after


async def replayed(settler: Settler, start: Position = FENCE, **options: int) -> tuple[list[bytes], Replay]:
    replay = Replay(settler, start, **options)
    records = []
    while (entry := await replay.next()) is not None:
        records.append(entry.records)
    return records, replay


def test_an_empty_lane_ends_at_its_first_slot() -> None:
    async def scenario() -> None:
        records, replay = await replayed(settler_over(MemoryBucket()))
        assert records == []
        assert replay.gap == segment_key(3, 8)
        assert replay.position == FENCE

    run(scenario())


def test_a_replay_follows_fences_from_lane_to_lane() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        end = lay_lane(bucket, FENCE, b"a", b"b")
        end = lay(bucket, fence(end, 5))
        end = lay(bucket, fence(end, 6))  # epoch 5 never wrote anything
        end = lay_lane(bucket, end, b"c")
        records, replay = await replayed(settler_over(bucket))
        assert records == [b"a", b"b", b"c"]
        assert (replay.position.lane, replay.position.sequence, replay.position.hash) == (6, 12, end.hash)
        assert (replay.segments, replay.fences) == (3, 2)
        assert replay.gap == segment_key(6, 13)

    run(scenario())


def test_what_lies_behind_a_fence_in_its_lane_is_not_read() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        ended = lay(bucket, fence(lay_lane(bucket, FENCE, b"a"), 5))
        orphan_after = Position(3, 9, b"?" * 32)
        lay_lane(bucket, orphan_after, b"orphan", b"orphan")
        assert (await replayed(settler_over(bucket)))[0] == [b"a"]
        lay_lane(bucket, ended, b"c")
        assert (await replayed(settler_over(bucket)))[0] == [b"a", b"c"]

    run(scenario())


def test_what_lies_behind_a_gap_is_not_read() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        a = lay_lane(bucket, FENCE, b"a")
        never_landed = segment(a, b"b").encode()
        lay(bucket, segment(Position(3, 9, never_landed.hash), b"c"))
        records, replay = await replayed(settler_over(bucket))
        assert records == [b"a"]
        assert await replay.lost_at_gap() is None

    run(scenario())


def test_reading_may_go_on_when_the_gap_is_filled() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        end = lay_lane(bucket, FENCE, b"a")
        settler = settler_over(bucket)
        _, replay = await replayed(settler)
        lay_lane(bucket, end, b"b")
        entry = await replay.next()
        assert entry is not None
        assert entry.records == b"b"

    run(scenario())


def test_accepting_what_took_the_gap() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, replay = await replayed(settler_over(bucket))
        taken = replay.accept(segment(FENCE, b"late").encode().body)
        assert taken is not None
        assert taken.records == b"late"
        assert replay.accept(fence(replay.position, 9).encode().body) is None
        assert replay.gap == segment_key(9, 10)

    run(scenario())


def test_reads_overlap_and_stay_in_order() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        texts = [b"%d" % n for n in range(200)]
        lay_lane(bucket, FENCE, *texts)
        settler = settler_over(bucket, read_ms=10)
        began_ms = VirtualClock().monotonic_ms()
        records, _ = await replayed(settler)
        assert records == texts
        assert VirtualClock().monotonic_ms() - began_ms < 10 * (200 / RECOVERY_WINDOW.most + 8)

    run(scenario())


@pytest.mark.parametrize("fault", [FaultKind.FAIL_BEFORE, FaultKind.UNAVAILABLE])
def test_an_error_is_not_absence(fault: FaultKind) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        lay_lane(bucket, FENCE, b"a", b"b", b"c")
        settler = settler_over(bucket, *[fault] * 30, where=lambda operation, _: operation is Operation.READ)
        assert (await replayed(settler))[0] == [b"a", b"b", b"c"]

    run(scenario())


@pytest.mark.parametrize("epoch", [5, 6])
def test_a_candidate_stops_at_its_own_epoch_or_a_higher_one(epoch: int) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        lay(bucket, fence(lay_lane(bucket, FENCE, b"a"), epoch))
        with pytest.raises(Deposed) as caught:
            await replayed(settler_over(bucket), candidate=5)
        assert caught.value.epoch == epoch
        assert (await replayed(settler_over(bucket), candidate=7))[0] == [b"a"]

    run(scenario())


@pytest.mark.parametrize("damage", ["flipped", "truncated", "moved", "other chain", "older writer"])
def test_a_damaged_segment_is_named_and_nothing_is_skipped(damage: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        a = lay_lane(bucket, FENCE, b"a")
        b = lay_lane(bucket, a, b"b")
        lay_lane(bucket, b, b"c")
        key = segment_key(3, 9)
        stored, third = bucket.get(key), bucket.get(segment_key(3, 10))
        assert stored is not None
        assert third is not None
        bodies = {
            "flipped": stored.body[:-1] + b"!",
            "truncated": stored.body[:100],
            "moved": third.body,
            "other chain": segment(Position(3, 8, b"z" * 32), b"b").encode().body,
            "older writer": segment(Position(3, 8, FENCE.hash), b"b", incarnation=OTHER).encode().body,
        }
        bucket.overwrite(key, bodies[damage])
        replay = Replay(settler_over(bucket), FENCE)
        first = await replay.next()
        assert first is not None
        with pytest.raises(CorruptObject) as caught:
            await replay.next()
        replay.close()
        assert caught.value.key == key

    run(scenario())


@pytest.mark.parametrize("witness", ["segment", "fence"])
def test_a_segment_that_was_durable_and_is_gone_is_missed(witness: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        a = lay_lane(bucket, FENCE, b"a")
        b = lay_lane(bucket, a, b"b")
        lay(bucket, segment(b, b"c", settled=9) if witness == "segment" else fence(b, 5))
        bucket.remove(segment_key(3, 9))
        records, replay = await replayed(settler_over(bucket))
        assert records == [b"a"]
        lost = await replay.lost_at_gap()
        assert lost is not None
        assert lost.key == segment_key(3, 9)
        assert segment_key(3, 10) in lost.problem

    run(scenario())


def test_a_gap_that_was_filled_meanwhile_is_not_lost() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, replay = await replayed(settler_over(bucket))
        a = lay(bucket, segment(FENCE, b"a"))
        lay(bucket, segment(a, b"b", settled=8))
        assert await replay.lost_at_gap() is None
        assert await replay.next() is not None
        replay.close()

    run(scenario())


def test_rubbish_behind_a_gap_proves_nothing() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        bucket.overwrite(segment_key(3, 10), b"rubbish")
        _, replay = await replayed(settler_over(bucket))
        assert await replay.lost_at_gap() is None

    run(scenario())


def test_log_bytes_are_the_bytes_passed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        lay(bucket, fence(lay_lane(bucket, FENCE, b"a", b"b"), 5))
        _, replay = await replayed(settler_over(bucket))
        bodies = [bucket.get(key) for key in bucket.keys_after("", "", 9)]
        assert replay.position.log_bytes == sum(len(stored.body) for stored in bodies if stored)
        assert decode(segment_key(3, 8), bodies[0].body if bodies[0] else b"").entry.sequence == 8

    run(scenario())

"""Clean-up removes what a checkpoint supersedes, and never a fence."""

import os

import pytest

from osqueue_service.errors import StoreDenied, StoreFailed
from osqueue_service.log import CheckpointRef, CheckpointWriter, Cleanup, Position, Settler
from osqueue_service.log import cleanup as cleanup_module
from osqueue_service.log.paths import checkpoint_key, lane_prefix, segment_key
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.unit.log.fixtures import FENCE, ME, fence, lay, segment, settler_over
from tests.unit.log.virtual import run


def at(sequence: int, epoch: int, parts: int = 1) -> CheckpointRef:
    return CheckpointRef(sequence=sequence, epoch=epoch, hash="00" * 32, form="objects", parts=parts)


BEFORE = at(9, 3)


async def history(bucket: MemoryBucket) -> Position:
    """Lane 3 from sequence 8 with a fence at 10 and orphans behind it; lane 5 from 11 to 14; checkpoints."""
    a = lay(bucket, segment(FENCE))
    b = lay(bucket, segment(a))
    ended = lay(bucket, fence(b, 5))
    lay(bucket, segment(Position(3, 10, b"o" * 32)))
    lay(bucket, segment(Position(3, 11, b"o" * 32)))
    for sequence, epoch in ((7, 3), (9, 3), (12, 3), (12, 5), (13, 5)):
        at = Position(epoch, sequence, bytes(32))
        await CheckpointWriter(settler_over(bucket), ME, at).write(b"state", 0)
    end = ended
    for _ in range(4):
        end = lay(bucket, segment(end))
    return end


def own(settler: Settler) -> Cleanup:
    """The clean-up of the leader of epoch 5, whose lane begins at sequence 11."""
    return Cleanup(settler, 5, 11)


def test_what_goes_and_what_stays() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        await own(settler_over(bucket)).run(12, BEFORE)
        assert bucket.keys_after("", "", 99) == [
            checkpoint_key(12, 3, 0),  # not below 12
            checkpoint_key(12, 5, 0),
            checkpoint_key(13, 5, 0),
            segment_key(3, 10),  # a fence
            segment_key(5, 13),  # above 12
            segment_key(5, 14),
        ]

    run(scenario())


def test_lanes_of_higher_epochs_are_left_alone() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        end = await history(bucket)
        lay(bucket, segment(lay(bucket, fence(end, 6))))
        await own(settler_over(bucket)).run(14, BEFORE)
        assert bucket.keys_after(lane_prefix(5), "", 9) == [segment_key(5, 15)]
        assert bucket.keys_after(lane_prefix(6), "", 9) == [segment_key(6, 16)]

    run(scenario())


def test_what_cannot_be_read_may_be_a_fence_and_stays() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        bucket.overwrite(segment_key(3, 8), b"rubbish")
        bucket.overwrite("log/notes.txt", b"somebody's")
        bucket.overwrite("checkpoints/notes.txt", b"somebody's")
        settler = settler_over(bucket)
        await own(settler).run(12, BEFORE)
        assert bucket.keys_after(lane_prefix(3), "", 9) == [segment_key(3, 8), segment_key(3, 10)]
        assert bucket.get("log/notes.txt")
        assert bucket.get("checkpoints/notes.txt")
        assert settler.counters.deletes_failed == 1

    run(scenario())


def test_deletes_that_fail_are_left_to_the_next_time() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        settler = settler_over(
            bucket, *[FaultKind.FAIL_BEFORE] * 8, where=lambda operation, _: operation is Operation.DELETE
        )
        cleanup = own(settler)
        await cleanup.run(12, BEFORE)
        assert settler.counters.deletes_failed == 8
        await cleanup.run(13, at(12, 5))
        assert len(bucket.keys_after("log/", "", 99)) == 2

    run(scenario())


def test_lower_lanes_are_swept_once_a_term() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        cleanup = own(settler_over(bucket))
        await cleanup.run(12, BEFORE)
        late = segment(Position(3, 7, bytes(32)))
        lay(bucket, late)
        await cleanup.run(13, at(12, 5))
        assert bucket.get(late.key)
        await Cleanup(settler_over(bucket), 6, 16).run(20, at(13, 5))
        assert not bucket.get(late.key)

    run(scenario())


def test_many_objects_go_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osqueue_service.log.cleanup.PAGE_KEYS", 3)

    async def scenario() -> None:
        bucket = MemoryBucket()
        end = FENCE
        for _ in range(50):
            end = lay(bucket, segment(end))
        await Cleanup(settler_over(bucket), 3, 8).run(55, at(7, 3))
        assert len(bucket.keys_after("", "", 99)) == 2

    run(scenario())


@pytest.mark.parametrize(("refusal", "passes"), [(StoreDenied("403"), False), (StoreFailed("fsync"), True)])
def test_only_a_store_that_failed_stops_a_clean_up(refusal: Exception, passes: bool) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        settler = settler_over(bucket)

        async def refuse(key: str) -> None:
            raise refusal

        settler.store.delete = refuse  # type: ignore[method-assign]
        if passes:
            with pytest.raises(StoreFailed):
                await own(settler).run(12, BEFORE)
        else:
            await own(settler).run(12, BEFORE)

    run(scenario())


def test_what_the_leader_wrote_itself_is_not_listed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        end = await history(bucket)
        settler = settler_over(bucket)
        cleanup = own(settler)
        await cleanup.run(12, BEFORE)
        listed: list[str] = []

        async def list_after(prefix: str, after: str, limit: int) -> list[str]:
            listed.append(prefix)
            return []

        settler.store.list_after = list_after  # type: ignore[method-assign]
        for _ in range(20):
            end = lay(bucket, segment(end))
        await CheckpointWriter(settler_over(bucket), ME, Position(5, 30, bytes(32))).write([os.urandom(90)] * 9, 0)
        await cleanup.run(30, at(12, 5))
        await cleanup.run(33, at(30, 5))
        assert not listed
        assert bucket.keys_after(lane_prefix(5), "", 9) == [segment_key(5, 34)]
        assert bucket.keys_after("checkpoints/", "", 9) == [checkpoint_key(12, 3, 0), checkpoint_key(13, 5, 0)]

    run(scenario())


def test_all_parts_of_the_checkpoint_before_go() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        cleanup = own(settler_over(bucket))
        await cleanup.run(12, BEFORE)
        for part in range(3):
            bucket.overwrite(checkpoint_key(13, 5, part), b"part")
        await cleanup.run(14, at(13, 5, parts=3))
        assert bucket.keys_after("checkpoints/0000000000000013", "", 9) == []

    run(scenario())


def test_a_first_sweep_that_was_not_complete_is_made_again() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        settler = settler_over(
            bucket,
            FaultKind.FAIL_BEFORE,
            where=lambda operation, key: operation is Operation.DELETE and key == segment_key(3, 8),
        )
        cleanup = own(settler)
        await cleanup.run(12, BEFORE)
        assert bucket.get(segment_key(3, 8))
        await cleanup.run(13, at(12, 5))
        assert not bucket.get(segment_key(3, 8))

    run(scenario())


def test_only_so_many_failed_deletes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup_module, "LEFT_MAX", 5)

    async def scenario() -> None:
        bucket = MemoryBucket()
        end = FENCE
        for _ in range(20):
            end = lay(bucket, segment(end))
        settler = settler_over(
            bucket, *[FaultKind.FAIL_BEFORE] * 20, where=lambda operation, _: operation is Operation.DELETE
        )
        cleanup = Cleanup(settler, 3, 8)
        await cleanup.run(27, at(0, 0))
        assert settler.counters.deletes_failed == 20
        await cleanup.run(28, at(27, 3))
        assert len(bucket.keys_after(lane_prefix(3), "", 99)) == 15, "the next leader finds them"
        end = lay(bucket, fence(end, 4))
        await Cleanup(settler, 4, end.sequence + 1).run(99, at(28, 3))
        assert len(bucket.keys_after(lane_prefix(3), "", 99)) == 1

    run(scenario())

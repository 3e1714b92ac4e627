"""Clean-up removes what a checkpoint supersedes, and never a fence."""

import pytest

from osqueue_service.errors import StoreDenied, StoreFailed
from osqueue_service.log import CheckpointWriter, Cleanup, Position
from osqueue_service.log.paths import checkpoint_key, lane_prefix, segment_key
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.unit.log.fixtures import FENCE, ME, fence, lay, segment, settler_over
from tests.unit.log.virtual import run


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


def test_what_goes_and_what_stays() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        await Cleanup(settler_over(bucket), 5).run(12)
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
        await Cleanup(settler_over(bucket), 5).run(14)
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
        await Cleanup(settler, 5).run(12)
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
        cleanup = Cleanup(settler, 5)
        await cleanup.run(12)
        assert settler.counters.deletes_failed == 8
        await cleanup.run(13)
        assert len(bucket.keys_after("log/", "", 99)) == 2

    run(scenario())


def test_lower_lanes_are_swept_once_a_term() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await history(bucket)
        cleanup = Cleanup(settler_over(bucket), 5)
        await cleanup.run(12)
        late = segment(Position(3, 7, bytes(32)))
        lay(bucket, late)
        await cleanup.run(13)
        assert bucket.get(late.key)
        await Cleanup(settler_over(bucket), 6).run(20)
        assert not bucket.get(late.key)

    run(scenario())


def test_many_objects_go_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osqueue_service.log.cleanup.PAGE_KEYS", 3)

    async def scenario() -> None:
        bucket = MemoryBucket()
        end = FENCE
        for _ in range(50):
            end = lay(bucket, segment(end))
        await Cleanup(settler_over(bucket), 3).run(55)
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
                await Cleanup(settler, 5).run(12)
        else:
            await Cleanup(settler, 5).run(12)

    run(scenario())

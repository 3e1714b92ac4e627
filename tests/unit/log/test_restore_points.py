"""Restore points: what is kept for a way back in time, for how long, and what a clean-up leaves for it."""

from osqueue_service.log import CheckpointRef, CheckpointWriter, Cleanup, Position, RestorePoints, Root, Settler
from osqueue_service.log.paths import (
    CHECKPOINTS_PREFIX,
    RESTORE_PREFIX,
    RestorePoint,
    checkpoint_key,
    lane_prefix,
    parse_restore_key,
    segment_key,
)
from osqueue_service.log.restore_points import list_restore_points
from osqueue_service.log.root import decode_root
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.unit.log.fixtures import ME, fence, lay, segment, settler_over
from tests.unit.log.virtual import run

HOUR = 3_600_000


class Leader:
    """A lane that is written, checkpointed and cleaned up, an hour between two checkpoints."""

    def __init__(self, settler: Settler, bucket: MemoryBucket, start: Position, root: Root, retention_ms: int) -> None:
        self.settler, self.bucket, self.end, self.root = settler, bucket, start, root
        self.points = RestorePoints(settler, retention_ms)
        self.cleanup = Cleanup(settler, start.lane, start.sequence + 1, self.points)

    async def checkpoint(self, commits: int = 2, pause_ms: int = HOUR) -> bool:
        """Commit, and put the state behind it in the root's place; whether the clean-up was complete."""
        for _ in range(commits):
            self.end = lay(self.bucket, segment(self.end))
        await self.settler.clock.sleep_ms(pause_ms)
        superseded = self.root.checkpoint
        written = await CheckpointWriter(self.settler, ME, self.end).write(b"state", 0)
        await self.points.keep(self.root)
        self.root = root_of(written.ref, self.end.lane)
        return await self.cleanup.run(self.end.sequence, superseded)

    async def successor(self, retention_ms: int) -> "Leader":
        epoch = self.end.lane + 1
        return Leader(self.settler, self.bucket, lay(self.bucket, fence(self.end, epoch)), self.root, retention_ms)


def root_of(checkpoint: CheckpointRef, epoch: int) -> Root:
    return Root(
        nonce="n",
        epoch=epoch,
        incarnation=ME,
        broker="b:1",
        grpc_address="b:2",
        broker_heartbeat=1,
        checkpoint=checkpoint,
    )


async def led(bucket: MemoryBucket, retention_ms: int, *faults: FaultKind) -> Leader:
    """The leader of epoch 3, behind its fence at 7 and a checkpoint of it."""
    settler = settler_over(bucket, *faults, where=lambda operation, _: operation is Operation.DELETE)
    fenced = lay(bucket, fence(Position(2, 6, b"b" * 32), 3))
    written = await CheckpointWriter(settler, ME, fenced).write(b"state", 0)
    return Leader(settler, bucket, fenced, root_of(written.ref, 3), retention_ms)


def kept(bucket: MemoryBucket) -> list[int]:
    points = [parse_restore_key(key) for key in bucket.keys_after(RESTORE_PREFIX, "", 99)]
    return [point.sequence for point in points if point]


def checkpoints(bucket: MemoryBucket) -> list[int]:
    return [int(key.split("/")[1].split("-")[0]) for key in bucket.keys_after(CHECKPOINTS_PREFIX, "", 99)]


def test_without_a_retention_nothing_is_kept() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, 0)
        for _ in range(3):
            assert await leader.checkpoint()
        assert not kept(bucket)
        assert checkpoints(bucket) == [13]
        assert bucket.keys_after(lane_prefix(3), "", 9) == []

    run(scenario())


def test_what_a_moment_within_the_retention_needs_stays_and_the_rest_goes() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, 3 * HOUR + HOUR // 2)
        for _ in range(10):
            assert await leader.checkpoint()
        # Superseded within the retention are 19 and all behind it. Of what lies before, 17 is the newest: the retention
        # begins behind that one.
        assert kept(bucket) == [17, 19, 21, 23, 25]
        assert checkpoints(bucket) == [17, 19, 21, 23, 25, 27]
        assert bucket.keys_after(lane_prefix(3), "", 99) == [segment_key(3, number) for number in range(18, 28)]

    run(scenario())


def test_a_point_is_the_root_with_nobody_in_it() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, HOUR)
        before = leader.root
        await leader.checkpoint()
        (key,) = bucket.keys_after(RESTORE_PREFIX, "", 9)
        stored = bucket.get(key)
        assert stored is not None
        root = decode_root(stored.body)
        assert isinstance(root, Root)
        assert root.checkpoint == before.checkpoint
        assert root.leader == ""
        assert parse_restore_key(key) == RestorePoint(7, 3, root.broker_heartbeat)

    run(scenario())


def test_points_are_a_thousandth_of_the_retention_apart() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, 1_000 * HOUR)
        for _ in range(6):
            assert await leader.checkpoint(pause_ms=HOUR // 2)
        assert kept(bucket) == [7, 11, 15]
        assert checkpoints(bucket) == [7, 11, 15, 19], "what no point needs goes at once"
        assert len(bucket.keys_after(lane_prefix(3), "", 99)) == 12, "and the log between them stays"

    run(scenario())


def test_what_others_kept_lapses_too_but_for_their_fences() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await led(bucket, 3 * HOUR)
        for _ in range(4):
            await first.checkpoint()
        second = await first.successor(3 * HOUR)
        lay(bucket, segment(Position(3, 16, b"o" * 32)))  # what a pipeline left behind the fence
        assert await second.checkpoint()
        assert kept(bucket) == [9, 11, 13, 15]
        for _ in range(8):
            assert await second.checkpoint()
        assert min(kept(bucket)) > 16
        assert bucket.keys_after(lane_prefix(3), "", 99) == [segment_key(3, 16)], "the fence"
        assert min(checkpoints(bucket)) == min(kept(bucket))

    run(scenario())


def test_a_leader_that_keeps_nothing_removes_what_others_kept() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await led(bucket, 100 * HOUR)
        for _ in range(4):
            await first.checkpoint()
        second = await first.successor(0)
        assert await second.checkpoint()
        assert kept(bucket) == []
        assert checkpoints(bucket) == [18]
        assert bucket.keys_after("log/", "", 99) == [segment_key(2, 7), segment_key(3, 16)]

    run(scenario())


def test_what_a_point_needs_waits_until_the_point_is_gone() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, HOUR)
        for _ in range(3):
            await leader.checkpoint()
        leader.settler.store.delete, delete = refuse_points(leader.settler.store.delete), leader.settler.store.delete  # type: ignore[method-assign]
        there = kept(bucket)
        assert not await leader.checkpoint()
        assert kept(bucket)[0] == there[0]
        assert bucket.get(checkpoint_key(there[0], 3, 0))
        assert bucket.get(segment_key(3, there[0] + 1))
        leader.settler.store.delete = delete  # type: ignore[method-assign]
        assert await leader.cleanup.again(leader.end.sequence)
        assert kept(bucket)[0] > there[0]
        assert not bucket.get(checkpoint_key(there[0], 3, 0))

    run(scenario())


def refuse_points(delete):  # type: ignore[no-untyped-def]
    async def selective(key: str) -> None:
        if key.startswith(RESTORE_PREFIX):
            raise OSError("refused")
        await delete(key)

    return selective


def test_the_clock_that_it_is_given_says_what_has_lapsed() -> None:
    """A leader's own may be years ahead; the one that is given is held back by the store's."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, HOUR)
        leader.points = RestorePoints(leader.settler, HOUR, wall_ms=lambda: 1_000)
        leader.cleanup = Cleanup(leader.settler, 3, 8, leader.points)
        await leader.checkpoint()
        await leader.checkpoint(pause_ms=1_000 * HOUR)
        assert bucket.keys_after(RESTORE_PREFIX, "", 9) == [RestorePoint(7, 3, 1_000).key]
        assert bucket.get(segment_key(3, 8))

    run(scenario())


def test_points_beyond_the_checkpoint_are_not_touched() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await led(bucket, HOUR)
        bucket.overwrite(RestorePoint(99, 3, 1).key, b"somebody's")
        bucket.overwrite(f"{RESTORE_PREFIX}notes.txt", b"somebody's")
        for _ in range(4):
            assert await leader.checkpoint()
        assert 99 in kept(bucket)
        assert bucket.get(f"{RESTORE_PREFIX}notes.txt")
        assert max(checkpoints(bucket)) == 15

    run(scenario())


def test_they_are_listed_in_pages(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("osqueue_service.log.restore_points.PAGE_KEYS", 2)

    async def scenario() -> None:
        bucket = MemoryBucket()
        points = [RestorePoint(number, 1, 10 + number) for number in range(5)]
        for point in reversed(points):
            bucket.overwrite(point.key, b"")
        assert await list_restore_points(settler_over(bucket)) == points

    run(scenario())

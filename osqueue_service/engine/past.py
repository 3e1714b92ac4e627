"""The queue as it was: from the restore points, and the log behind them, the state after any commit that is kept."""

from dataclasses import dataclass

from osqueue_service.engine.codec import stamp_of
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import CorruptObject, StorageUnavailable
from osqueue_service.log import (
    Position,
    Replay,
    Root,
    SeedQueue,
    Segment,
    Settler,
    apply_segment,
    load_state,
)
from osqueue_service.log.paths import ROOT, RestorePoint
from osqueue_service.log.reader import READ_TRIES_MAX, Reader
from osqueue_service.log.restore_points import list_restore_points, read_restore_point
from osqueue_service.state.stored import Unreadable


class NotCovered(Exception):
    """What the queue was then is not kept any more. `oldest_ms` is the first moment that is."""

    def __init__(self, oldest_ms: int) -> None:
        super().__init__("the queue of that time is not kept any more")
        self.oldest_ms = oldest_ms


@dataclass(frozen=True, slots=True)
class Past:
    """A state that the queue had: the root it was built from, and the place in the log that it is of."""

    root: Root
    position: Position
    stamp_ms: int
    """When the last commit in it was made."""


async def read_past(settler: Settler, rebuild: Rebuild, at_ms: int) -> Past | SeedQueue | None:
    """Build in `rebuild` the state after all commits that were made up to `at_ms`; None where there is no queue.

    `NotCovered` tells from when on that is possible. `CorruptObject` names what is damaged or missing on the way.
    """
    reader = Reader(settler, rebuild.understood)
    for _ in range(READ_TRIES_MAX):
        root = await reader.root()
        if not isinstance(root, Root):
            return root
        try:
            return await _PastReader(settler, rebuild, root, at_ms).read()
        except CorruptObject:
            # What seems to be missing may have been cleaned up meanwhile.
            if not await reader.superseded(root):
                raise
    raise StorageUnavailable(
        f"{READ_TRIES_MAX} checkpoints were superseded while they were being read; try again, nearer to the store"
    )


class _PastReader:
    """One try, beginning with the root as it is now."""

    def __init__(self, settler: Settler, rebuild: Rebuild, root: Root, at_ms: int) -> None:
        self._settler = settler
        self._rebuild = rebuild
        self._now = root
        self._at_ms = at_ms

    async def read(self) -> Past:
        root, start = await self._begin()
        before = last = start

        def passed(key: str, position: Position) -> None:
            nonlocal before, last
            before, last = last, position

        replay = Replay(self._settler, start, passed=passed)
        try:
            while (segment := await replay.next()) is not None:
                if _stamp(segment) > self._at_ms:
                    return Past(root, before, self._rebuild.state.stamp_ms)
                apply_segment(self._rebuild, segment)
                await self._settler.clock.sleep_ms(0)
            lost = await replay.lost_at_gap()
        finally:
            replay.close()
        if lost is not None:
            raise lost
        if last.sequence < self._now.checkpoint.sequence:
            raise CorruptObject(
                replay.gap, "it is missing, and later commits are there: what was between cannot be built from here"
            )
        return Past(root, last, self._rebuild.state.stamp_ms)

    async def _begin(self) -> tuple[Root, Position]:
        """Load the newest checkpoint that is not of a later time. One that cannot be read is passed over: the log
        behind an earlier one leads by it."""
        points: list[RestorePoint | None] = [*await list_restore_points(self._settler), None]
        # A point's checkpoint is a little older than the moment at which the one before was kept. The clocks may have
        # been set between, so this only says where to begin.
        number = len(points) - 1
        while number and (points[number - 1] or _NEVER).kept_at_ms > self._at_ms:
            number -= 1
        damage: CorruptObject | None = None
        oldest_ms: int | None = None
        for point in reversed(points[: number + 1]):
            try:
                root = self._now if point is None else await read_restore_point(self._settler, point)
                if root is None:
                    continue  # cleaned up just now
                position = await load_state(self._settler, root, self._rebuild)
            except CorruptObject as corrupt:
                damage = damage or corrupt
                continue
            if self._rebuild.state.stamp_ms <= self._at_ms:
                return root, position
            oldest_ms = self._rebuild.state.stamp_ms
        if oldest_ms is not None:
            raise NotCovered(oldest_ms) from damage
        raise damage or CorruptObject(ROOT, "the restore points that there were a moment ago are gone")


_NEVER = RestorePoint(0, 0, 0)


def _stamp(segment: Segment) -> int:
    try:
        return stamp_of(segment.records)
    except Unreadable as error:
        raise CorruptObject(segment.key, f"the time of the commit cannot be read: {error}") from error

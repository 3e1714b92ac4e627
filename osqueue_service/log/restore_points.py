"""Restore points: roots that are kept when a later checkpoint takes their place, so that there is a way back in time.

A restore point is the object that the root was, with nobody in it who leads. The checkpoint it vouches for and the log
behind that are kept as long as it is, and from there on the state of any later commit can be built.

Points are at least a thousandth of the retention apart: what lies between two is reached by the log.
"""

from collections.abc import Callable

import msgspec

from osqueue_service.errors import CorruptObject
from osqueue_service.log.paths import RESTORE_PREFIX, RestorePoint, parse_restore_key
from osqueue_service.log.root import Root, decode_root
from osqueue_service.log.settle import Settler

SPACING_PARTS = 1_000
"""Points that there are at most, or a few more: each must be this part of the retention younger than the one before."""
PAGE_KEYS = 1_000


async def list_restore_points(settler: Settler) -> list[RestorePoint]:
    """Those that there are, the oldest first."""
    points: list[RestorePoint] = []
    after = ""
    while page := await settler.list_after(RESTORE_PREFIX, after, PAGE_KEYS):
        points += [point for key in page if (point := parse_restore_key(key)) is not None]
        after = page[-1]
    return sorted(points)


async def read_restore_point(settler: Settler, point: RestorePoint) -> Root | None:
    """The root that was kept, or None where it is gone. Raises `CorruptObject`, and `WrittenByNewer`."""
    found = await settler.read(point.key)
    if found is None:
        return None
    try:
        root = decode_root(found.body)
    except CorruptObject as corrupt:
        raise CorruptObject(point.key, corrupt.problem) from corrupt
    if not isinstance(root, Root) or (root.checkpoint.sequence, root.checkpoint.epoch) != point[:2]:
        raise CorruptObject(point.key, "it is not the root that its name says")
    return root


class RestorePoints:
    """The restore points of a queue, as its leader knows them: what a clean-up must leave."""

    def __init__(self, settler: Settler, retention_ms: int, wall_ms: Callable[[], int] | None = None) -> None:
        """`retention_ms` is how far back in time there must be a way; 0: nothing is kept. `wall_ms` is the clock that
        says so: one that is years ahead would let all of it lapse."""
        self._settler = settler
        self._retention_ms = retention_ms
        self._wall_ms = wall_ms or settler.clock.wall_ms
        self._points: list[RestorePoint] | None = None

    async def keep(self, root: Root) -> None:
        """Keep what `root` vouches for, unless the point before is close enough. Call this before it is superseded."""
        if not self._retention_ms:
            return
        points = await self._known()
        now_ms = self._wall_ms()
        if points and 0 <= now_ms - points[-1].kept_at_ms < self._retention_ms // SPACING_PARTS:
            return
        point = RestorePoint(root.checkpoint.sequence, root.checkpoint.epoch, now_ms)
        kept = msgspec.structs.replace(root, broker=None, grpc_address=None, broker_heartbeat=now_ms)
        await self._settler.put(point.key, kept.encode())
        points.append(point)

    async def lapsed(self, before: int) -> list[RestorePoint]:
        """Those that no moment within the retention needs any more: all that are older, but for the newest of these.

        `before` is the sequence of the checkpoint that counts now; later ones are not touched.
        """
        points = [point for point in await self._known() if point.sequence < before]
        if not self._retention_ms:
            return points
        limit_ms = self._wall_ms() - self._retention_ms
        old = [number for number, point in enumerate(points) if point.kept_at_ms <= limit_ms]
        return points[: old[-1]] if old else []

    def forget(self, point: RestorePoint) -> None:
        """It is gone from the store."""
        assert self._points is not None
        self._points.remove(point)

    def holds(self, sequence: int, epoch: int) -> bool:
        """Whether the checkpoint of that place must stay."""
        return any((point.sequence, point.epoch) == (sequence, epoch) for point in self._points or ())

    def oldest(self, sequence: int, epoch: int) -> tuple[int, int]:
        """Epoch and sequence of the place in the log up to which nothing is needed.

        The checkpoint at `sequence` of `epoch` counts now.
        """
        needed = [(point.epoch, point.sequence) for point in self._points or () if point.sequence < sequence]
        return needed[0] if needed else (epoch, sequence)

    async def _known(self) -> list[RestorePoint]:
        """Listed once: what others put there later is found by the next leader."""
        if self._points is None:
            self._points = await list_restore_points(self._settler)
        return self._points

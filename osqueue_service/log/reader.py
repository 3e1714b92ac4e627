"""Reading a queue without taking part: for tools that look while brokers work."""

from collections.abc import Set
from dataclasses import dataclass

from osqueue_service.errors import CorruptObject, StorageUnavailable
from osqueue_service.log.paths import ROOT
from osqueue_service.log.position import Position
from osqueue_service.log.recovery import Replay, apply_segment, load_state
from osqueue_service.log.replayer import Replayer
from osqueue_service.log.root import Root, SeedQueue, decode_root
from osqueue_service.log.settle import Settler

READ_TRIES_MAX = 10
"""How often a read begins again because the checkpoint it began with was superseded."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A valid prefix of the queue: the root it began with, and how far the log was read."""

    root: Root
    position: Position
    segments: int
    fences: int
    replay: Replay
    """At the gap behind `position`; `next` goes on from there."""


class Reader:
    """Reads a queue that others write to.

    What was read counts only if the root, read again at the end, still vouches for the
    same checkpoint: otherwise a clean-up may have made holes in what was being read.
    """

    def __init__(self, settler: Settler, understood: Set[str] | None = None) -> None:
        """`understood` are the features that the queue may need; None: any, for who looks at the root alone."""
        self._settler = settler
        self._understood = understood

    async def root(self) -> Root | SeedQueue | None:
        """The root as it is now, or None where there is no queue. Raises `WrittenByNewer` for a queue that needs what
        is not understood: what could be read of it would not be all there is."""
        found = await self._settler.read(ROOT)
        if found is None:
            return None
        root = decode_root(found.body)
        if self._understood is not None and isinstance(root, Root):
            root.require(self._understood)
        return root

    async def read(self, replayer: Replayer) -> Reading | SeedQueue | None:
        """Rebuild the state in `replayer`; None where there is no queue.

        Raises `CorruptObject` for an object that is damaged or missing although the root
        still vouches for it, and `StorageUnavailable` when checkpoints follow one another
        faster than they can be read.
        """
        for _ in range(READ_TRIES_MAX):
            root = await self.root()
            if root is None or isinstance(root, SeedQueue):
                return root
            try:
                reading = await self._read_from(root, replayer)
            except CorruptObject:
                if await self.superseded(root):
                    continue
                raise
            if not await self.superseded(root):
                return reading
        raise StorageUnavailable(
            f"{READ_TRIES_MAX} checkpoints were superseded while they were being read; try again, nearer to the store"
        )

    async def _read_from(self, root: Root, replayer: Replayer) -> Reading:
        replay = Replay(self._settler, await load_state(self._settler, root, replayer))
        try:
            while (segment := await replay.next()) is not None:
                apply_segment(replayer, segment)
                await self._settler.clock.sleep_ms(0)
        finally:
            replay.close()
        return Reading(root, replay.position, replay.segments, replay.fences, replay)

    async def superseded(self, before: Root) -> bool:
        """Whether the root vouches for another checkpoint by now, so that what was missing may have been cleaned up."""
        now = await self.root()
        return not isinstance(now, Root) or now.checkpoint != before.checkpoint

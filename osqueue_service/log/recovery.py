"""Reading the log: from a position, across lanes, to the first slot that is proved absent."""

from collections.abc import Callable

from osqueue_service.errors import CorruptObject, Deposed, WrittenByNewer
from osqueue_service.log.appender import DEPTH_MAX
from osqueue_service.log.checkpoints import read_checkpoint
from osqueue_service.log.paths import lane_prefix, segment_key
from osqueue_service.log.position import Position
from osqueue_service.log.read_ahead import ReadAhead, Window
from osqueue_service.log.replayer import Replayer
from osqueue_service.log.root import Root
from osqueue_service.log.segment import Fence, Segment, decode
from osqueue_service.log.settle import Settler

RECOVERY_WINDOW = Window(first=4, most=32)
"""Slots read at once. Also bounds what a replay holds in memory: this many segments not yet applied."""


async def load_state(settler: Settler, root: Root, replayer: Replayer) -> Position:
    """Begin a state with the checkpoint that `root` vouches for; the position it is of, where the log goes on."""
    checkpoint = root.checkpoint
    replayer.begin()
    if checkpoint.form == "seed":
        replayer.load_seed([bytes(job) for job in root.adopted or ()], root.completed_total)
    await read_checkpoint(settler, root, replayer.load)
    return Position(checkpoint.epoch, checkpoint.sequence, bytes.fromhex(checkpoint.hash))


def apply_segment(replayer: Replayer, segment: Segment) -> None:
    """Hand a segment's records to the state; what it refuses is raised with the segment's key."""
    try:
        replayer.apply(segment.sequence, segment.records, segment.format)
    except CorruptObject as corrupt:
        raise CorruptObject(segment.key, corrupt.problem) from corrupt
    except WrittenByNewer as newer:
        raise WrittenByNewer(segment.key, newer.what) from newer


class Replay:
    """Walks the log from `start`, verifying checksums and the hash chain.

    `position` is always the last object accepted, so the next slot is `gap` once
    `next` has answered None. `candidate` is the walker's own epoch, if it has one:
    meeting an object of that epoch or above raises `Deposed`. `passed` is told the key of
    each object accepted, and the position after it.
    """

    def __init__(
        self,
        settler: Settler,
        start: Position,
        *,
        candidate: int | None = None,
        passed: Callable[[str, Position], None] | None = None,
        window: Window = RECOVERY_WINDOW,
    ) -> None:
        self.position = start
        self.segments = 0
        self.lane_ends: dict[int, int] = {}
        """The sequence of the fence that ended each lane passed."""
        self._settler = settler
        self._candidate = candidate
        self._passed = passed
        self._window = window
        self._ahead: ReadAhead | None = None

    @property
    def gap(self) -> str:
        """The key of the slot after `position`."""
        return segment_key(self.position.lane, self.position.sequence + 1)

    async def next(self) -> Segment | None:
        """The next segment in the lane in force, following fences; None at the first slot that is absent.

        An absent slot may be taken a moment later: only a fence put there makes it the end.
        """
        while True:
            if self._ahead is None:
                self._ahead = self._read_lane()
            found = await self._ahead.take()
            if found is None:
                self.close()
                return None
            segment = self.accept(found)
            if segment is not None:
                return segment

    def accept(self, body: bytes) -> Segment | None:
        """Move past what lies in the next slot; the segment, or None for a fence."""
        key = self.gap
        decoded = decode(key, body)
        entry = decoded.entry
        if self._candidate is not None and entry.epoch >= self._candidate:
            # A higher one took the root from us; ours cannot be in the log before we serve. The caller asks the root.
            raise Deposed(f"{key} was written by epoch {entry.epoch}", epoch=entry.epoch)
        if entry.previous_hash != self.position.hash:
            raise CorruptObject(
                key,
                "the hash chain is broken here, it does not follow the object before it: "
                "restore the objects from a copy, and run `osqueue verify`",
            )
        log_bytes = self.position.log_bytes + len(body)
        self.position = Position(entry.epoch, entry.sequence, decoded.hash, log_bytes)
        if self._passed is not None:
            self._passed(key, self.position)
        if isinstance(entry, Fence):
            self.lane_ends[entry.lane] = entry.sequence
            self._settler.counters.fences_met += 1
            self.close()  # what was read ahead lies behind the fence, in a lane that has ended
            return None
        self.segments += 1
        self._settler.counters.segments_replayed += 1
        return entry

    @property
    def fences(self) -> int:
        return len(self.lane_ends)

    def close(self) -> None:
        """Give up the reads under way. `next` may be called again."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    async def lost_at_gap(self) -> CorruptObject | None:
        """Whether the slot at the gap was filled once: what proves it, if so.

        Segments may lie behind a gap, put by a pipeline whose first put never landed. But a
        segment that says its writer knew the gap to be durable, or another's fence, whose
        writer read it, cannot be there unless it was. Only a root that has moved on may
        excuse that: whoever asks must read it again before calling the object lost.
        """
        position = self.position
        gap = position.sequence + 1
        beyond = await self._settler.list_after(lane_prefix(position.lane), self.gap, DEPTH_MAX)
        for key in reversed(beyond):
            found = await self._settler.read(key)
            if found is None or not _proves(key, found.body, gap):
                continue
            if await self._settler.read(self.gap) is not None:
                return None  # it landed meanwhile: nothing is missing, read on
            return CorruptObject(
                self.gap,
                f"it is missing, and {key} proves that it was durable: restore it from a copy or an earlier version",
            )
        return None

    def _read_lane(self) -> ReadAhead:
        lane = self.position.lane
        return ReadAhead(
            self._settler,
            lambda sequence: segment_key(lane, sequence),
            first=self.position.sequence + 1,
            window=self._window,
        )


def _proves(key: str, body: bytes, gap: int) -> bool:
    """Whether the writer of an object behind the gap knew the slot at the gap to be filled."""
    try:
        entry = decode(key, body).entry
    except CorruptObject:
        return False  # it is not part of the log, and nothing can be learnt from it; `osqueue verify` reports it
    return isinstance(entry, Fence) or entry.settled >= gap

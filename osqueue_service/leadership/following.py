"""A standby that follows the log, so that its takeover need only read the rest.

Following is reading: nothing is written and nothing is promised, and what was read may turn
out not to count. A clean-up leaves holes where segments were; in one of them may lie the late
fence of a candidate that lost, and lead a follower into a lane that never counted. So the
takeover decides whether the followed state may be used. It may where

1. the way that was followed passed the place of the checkpoint in the root that the takeover
   has swapped, and there lay the very object that the checkpoint names by its hash; and
2. the last object on the way still lies in its slot.

Then going on from there is replaying from the checkpoint, less the reading:

- The hash stands for everything before it, and a state depends on nothing but what was
  replayed. So in that place the followed state was the checkpoint's.
- What lies behind a checkpoint is deleted only once a root vouches for a later one, and
  roots never go back to an earlier one. The root swapped named this one; since then only the
  takeover itself could move it, or a candidate after it, whom the takeover's last read of
  the root would show. So nothing on the way behind the checkpoint is gone by then. Names
  are written once, so each object is what it was, and a replay that began with the
  checkpoint now would come by the very same.
- From there on it is a takeover like any other: read to the gap, see whether anything was
  lost there, fence, read the root again.

The second condition follows from the first while nobody sets a bucket back, or empties it, under running
brokers. It costs one read, and makes of that mistake a slower takeover instead of a wrong queue.

Where they do not hold (the checkpoint lies ahead of what was followed, or beside it) the
takeover begins with the checkpoint, as one that had followed nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from osqueue_service.errors import CorruptObject, StoreError, WrittenByNewer
from osqueue_service.leadership.held_root import Heartbeat
from osqueue_service.leadership.pause import Pause
from osqueue_service.log import (
    CheckpointRef,
    PassedPlaces,
    Position,
    Replay,
    Replayer,
    Root,
    SeedQueue,
    Settler,
    Window,
    apply_segment,
    load_state,
)
from osqueue_service.log.segment import decode

log = logging.getLogger(__name__)

WINDOW = Window(first=1, most=8, growth=1.1)
"""Slots read at once. A standby has time, and should make few requests for what is not there."""
PROBE_COMMITS = 10
"""A standby looks again when about this many commits have come since it last looked: each look costs a few requests."""
PROBE_MS_MIN = 100
"""The shortest time between two looks, however much comes."""
PROBE_POLLS = 2
"""The longest time between two looks while commits come, as a multiple of how often the root is looked at."""
PROBE_POLLS_MAX = 10
"""The same once no commits come: the pauses double up to this multiple."""
NEAR_COMMITS = 20
"""A standby that has no more than this left to read need not leave the queue to others."""
CLOSE_PROBE_MS = 20
"""How often it looks while the leader waits for it to be at the end of the log."""
LATELY_MS = 1_000
"""How much longer than its longest interval a look may take before a standby counts as behind."""
LOAD_REST = 10
"""After loading a checkpoint, none is loaded for this many times as long as that took."""
FAILURE_REST_MS = 60_000
"""How long a standby lets an object be that it could not read twice."""


class Follower:
    """Follows the log into `replayer` while a watch looks at the root; `saw` begins it, `pause` holds it up."""

    def __init__(
        self,
        settler: Settler,
        heartbeat: Heartbeat,
        replayer: Replayer,
        on_loaded: Callable[[], None] = lambda: None,
        on_newer: Callable[[WrittenByNewer], None] = lambda newer: None,
    ) -> None:
        """`on_loaded` is called whenever a checkpoint has been loaded, `on_newer` when a later release has written what
        is read: then nothing more is followed."""
        self._settler = settler
        self._replayer = replayer
        self._on_loaded = on_loaded
        self._on_newer = on_newer
        self._pause = Pause(settler.clock)
        self._close_until_ms = 0.0
        self._reached_ms: float | None = None
        self._since_reached = 0
        self._goal = 0
        self._probe_ms = heartbeat.poll_ms * PROBE_POLLS
        self._probe_ms_max = heartbeat.poll_ms * PROBE_POLLS_MAX
        self._root: Root | None = None
        self._task: asyncio.Task[None] | None = None
        self._passed: PassedPlaces | None = None
        self._replay: Replay | None = None
        self._load_not_before_ms = 0.0
        self._failed_at: CheckpointRef | None = None

    @property
    def sequence(self) -> int:
        """How far the log has been followed; 0: nothing is ready."""
        return self._passed.end.sequence if self._passed is not None else 0

    @property
    def is_behind(self) -> bool:
        """Whether it is far from the end of the log, or has not been there lately, so that others may be nearer."""
        if self._task is None:
            return False  # nobody has led since this standby came
        known = max(self._since_reached, self._goal - self.sequence)
        if self._reached_ms is None or known > NEAR_COMMITS:
            return True
        return self._settler.clock.monotonic_ms() - self._reached_ms > self._probe_ms_max + LATELY_MS

    def heard(self, sequence: int) -> None:
        """The leader is at `sequence`: after a time without commits, look for them sooner than planned."""
        if self._passed is not None and sequence >= self.sequence + PROBE_COMMITS:
            self._pause.wake()

    def hasten(self, sequence: int, limit_ms: float) -> None:
        """Follow closely, for at most `limit_ms`: the leader, which is at `sequence`, waits for it."""
        self._goal = sequence
        self._close_until_ms = self._settler.clock.monotonic_ms() + limit_ms
        self._pause.wake()

    def saw(self, root: Root | SeedQueue) -> None:
        """The root as the watch has just read it. Raises what following met that is not the store's fault: a bug."""
        if isinstance(root, SeedQueue):
            return  # there is no log yet
        self._root = root
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow(), name="standby")
        elif self._task.done():
            self._task.result()

    async def pause(self) -> None:
        """Return when nothing is read any more; what was followed is kept, for `give` or for the next `saw`."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        if self._replay is not None:
            self._replay.close()
        if not task.cancelled():
            task.result()

    def end(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
        if self._replay is not None:
            self._replay.close()

    async def give(self, root: Root, settler: Settler) -> Position | None:
        """Where a takeover that holds `root` may go on from, with the state in the replayer; None: from the checkpoint.

        Either way the replayer is the takeover's now. The position counts the log's bytes from the checkpoint on.
        """
        passed, self._passed = self._passed, None
        place = passed.at(root.checkpoint) if passed is not None else None
        if passed is None or place is None:
            return None
        end = passed.end
        if end.lane >= root.epoch:
            return None  # the root was set back; a replay from the checkpoint finds out, and says so
        if end.sequence > place.sequence and not await _lies_there(settler, passed):
            return None
        return replace(end, log_bytes=end.log_bytes - place.log_bytes)

    async def _follow(self) -> None:
        clock = self._settler.clock
        pause_ms = self._probe_ms
        looked_ms = clock.monotonic_ms()
        while True:
            root, before = self._root, self.sequence
            assert root is not None
            try:
                await self._catch_up(root)
            except (CorruptObject, StoreError) as trouble:
                # Safe: nothing rests on what a standby has read. Mostly it was cleaned up under our hands; what is
                # really wrong, a takeover meets again and refuses.
                self._give_up(root, trouble)
            except WrittenByNewer as newer:
                self._forget()
                self._on_newer(newer.by(root.release))
                return
            before_ms, looked_ms = looked_ms, clock.monotonic_ms()
            pause_ms = self._pause_ms(pause_ms, self.sequence - before, looked_ms - before_ms)
            await self._pause.sleep_ms(CLOSE_PROBE_MS if looked_ms < self._close_until_ms else pause_ms)

    def _pause_ms(self, before_ms: float, found: int, in_ms: float) -> float:
        """How long to wait before the next look, when `found` commits came in the last `in_ms`."""
        if found <= 0:
            return min(max(before_ms * 2, self._probe_ms), self._probe_ms_max)
        return min(max(in_ms / found * PROBE_COMMITS, PROBE_MS_MIN), self._probe_ms)

    async def _catch_up(self, root: Root) -> None:
        """Read on to the first slot that is absent; from the checkpoint, if what was read does not lead past it."""
        if self._passed is not None and self._passed.at(root.checkpoint) is not None:
            self._passed.begin_at(root.checkpoint)
        else:
            self._forget()
            if self._close_until_ms <= self._settler.clock.monotonic_ms() < self._load_not_before_ms:
                return
            await self._load(root)
        assert self._replay is not None
        while (segment := await self._replay.next()) is not None:
            apply_segment(self._replayer, segment)
            self._settler.counters.segments_followed += 1
            self._since_reached += 1
            await self._settler.clock.sleep_ms(0)
        self._reached_ms, self._since_reached = self._settler.clock.monotonic_ms(), 0

    async def _load(self, root: Root) -> None:
        clock = self._settler.clock
        began_ms = clock.monotonic_ms()
        self._settler.counters.standby_loads += 1
        try:
            start = await load_state(self._settler, root, self._replayer)
        finally:
            now_ms = clock.monotonic_ms()
            self._load_not_before_ms = now_ms + LOAD_REST * (now_ms - began_ms)
        self._passed = PassedPlaces(root.checkpoint, start)
        self._replay = Replay(self._settler, start, passed=self._passed.add, window=WINDOW)
        self._on_loaded()

    def _give_up(self, root: Root, trouble: CorruptObject | StoreError) -> None:
        self._forget()
        self._settler.counters.standby_failures += 1
        if root.checkpoint == self._failed_at:
            # No clean-up explains it any more: the checkpoint is still the one vouched for.
            log.warning("this standby cannot follow the log, and a takeover would have to read the same: %s", trouble)
            self._load_not_before_ms = self._settler.clock.monotonic_ms() + FAILURE_REST_MS
        self._failed_at = root.checkpoint

    def _forget(self) -> None:
        if self._replay is not None:
            self._replay.close()
            self._replayer.begin()
        self._passed = self._replay = self._reached_ms = None


async def _lies_there(settler: Settler, passed: PassedPlaces) -> bool:
    """Whether the last object on the way is still what it was."""
    assert passed.end_key is not None
    found = await settler.read(passed.end_key)
    if found is None:
        return False
    try:
        return decode(passed.end_key, found.body).hash == passed.end.hash
    except CorruptObject:
        return False  # a replay from the checkpoint comes by it too, and refuses it with its name

"""A leader's term: what it may do with the queue until it is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Set

import msgspec

from osqueue_service.errors import (
    CorruptObject,
    Deposed,
    FeatureUnavailable,
    NotLeader,
    StorageUnavailable,
    StoreError,
    StoreFailed,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.leadership.standbys import Standbys
from osqueue_service.leadership.takeover import Recovered, Victory
from osqueue_service.log import (
    Appender,
    CheckpointRef,
    CheckpointWriter,
    Cleanup,
    Ending,
    Image,
    Position,
    RestorePoints,
    Root,
    Settler,
)
from osqueue_service.log.paths import ROOT
from osqueue_service.log.root import INLINE_BYTES_MAX

log = logging.getLogger(__name__)

CHECKPOINT_FLOOR_BYTES = 1024 * 1024
"""A log lighter than this is not worth a checkpoint, however small the state is."""
SEGMENT_WEIGHT_BYTES = 4 * 1024
TAIL_SEGMENTS_MAX = 8_192
"""Segments behind a checkpoint after which the next one is due, however large the state is."""

CLEAN_UP_PAUSE_MS = 1_000
"""A clean-up that could not delete everything tries again after this long, then twice as long, and so on,"""
CLEAN_UP_PAUSE_MS_MAX = 600_000
"""up to this."""


class Term:
    """From a confirmed fence to the end of leadership.

    Whoever learns first that it is over, the appender at a slot, the renewal, a
    confirming read or a checkpoint's swap, ends it for all: `lost` resolves with the reason
    (`Deposed`, `CorruptObject`, a `StoreError`, or `NotLeader` after a hand-over), and the
    appender acknowledges nothing more. A term that is over stays over.
    """

    def __init__(self, settler: Settler, victory: Victory, *, depth: int, points: RestorePoints | None = None) -> None:
        """`settler` is for what may have to wait: commits, checkpoints, clean-up, callers' reads; not for the root.
        `points` says what is kept for a way back in time; without it, nothing."""
        self.recovered: Recovered = victory.recovered
        self.appender = Appender(
            settler,
            epoch=victory.held.root.epoch,
            incarnation=victory.held.root.incarnation,
            fence=victory.recovered.fence,
            depth=depth,
        )
        self.lost = Ending()
        self.standbys: Standbys | None = None
        """Who attends this leader, once it serves."""
        self._settler = settler
        self._held = victory.held
        self._lease = victory.lease
        self._tenure = victory.tenure
        self._points = points or RestorePoints(settler, 0)
        self._cleanup = Cleanup(settler, self.epoch, victory.recovered.fence.sequence + 1, self._points)
        self._publishing = asyncio.Lock()
        self._checkpointed_bytes = 0
        self._attempted = victory.held.root.checkpoint.sequence
        self._cleaning: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._queued: asyncio.Task[None] | None = None
        self.appender.lost.listen(self.end)
        self._tenure.lost.listen(self.end)

    @property
    def epoch(self) -> int:
        return self._held.root.epoch

    @property
    def incarnation(self) -> str:
        return self._held.root.incarnation

    @property
    def root(self) -> Root:
        """The root as last known to be mine."""
        return self._held.root

    @property
    def log_bytes(self) -> int:
        """Bytes of log that a recovery would have to read behind the vouched checkpoint."""
        return self.appender.released.log_bytes - self._checkpointed_bytes

    def is_live(self) -> bool:
        """Whether no other broker can lead yet, by the monotonic clock: what reads are served under.

        Nothing safe rests on it; it bounds how stale an answer can be.
        """
        return self.lease_left_ms() > 0

    def lease_left_ms(self) -> float:
        """For how long that holds without another renewal; 0 or less when it does not."""
        return 0.0 if self.lost.over else self._lease.lease_until_ms - self._settler.clock.monotonic_ms()

    @property
    def lease_until_ms(self) -> float:
        """Until when no other broker can lead, by the monotonic clock, as far as renewals are confirmed."""
        return self._lease.lease_until_ms

    @property
    def lapses(self) -> int:
        """How often this term was not live for a while and is again."""
        return self._lease.lapses

    async def confirm(self) -> None:
        """Return once a root read that began after this call has shown this term; callers share reads.

        Raises `NotLeader` when the term is over and `StorageUnavailable` when the store does not answer.
        """
        if self.lost.over:
            raise self._not_leader()
        if self._queued is None:
            self._queued = asyncio.get_running_loop().create_task(self._confirm_after(self._reading))
            self._queued.add_done_callback(_mark_retrieved)
        # Shielded, because a caller that is cancelled must not cancel the read of the others.
        await asyncio.shield(self._queued)

    def checkpoint_due(self) -> bool:
        """Whether the log behind the vouched checkpoint outweighs the state, or a recovery would read too many objects.

        Every segment weighs `SEGMENT_WEIGHT_BYTES` more than its bytes, because reading it is a request.
        """
        segments = self.appender.released.sequence - self._held.root.checkpoint.sequence
        weight = self.log_bytes + segments * SEGMENT_WEIGHT_BYTES
        return weight >= max(self._held.root.checkpoint.size, CHECKPOINT_FLOOR_BYTES) or segments >= TAIL_SEGMENTS_MAX

    async def publish_checkpoint(self, sequence: int, image: Image, completed_total: int) -> None:
        """Write the state after `sequence` as a checkpoint, have the root vouch for it, and clean up in the background.

        Call this in the same step of the event loop in which the snapshot behind `image` was
        taken: `sequence` is that of the last segment appended by then. The image is read and
        written while commits go on; the root changes once that segment is released. Returns once the root is
        known to vouch for the checkpoint; raises `NotLeader` if the term ends first. Any other error says that this
        checkpoint failed and the term goes on: try again with a later one.
        """
        if self.lost.over:
            raise self._not_leader()
        position = self.appender.appended
        if sequence != position.sequence or sequence <= self._attempted:
            raise ValueError(f"sequence {sequence} is not the last one appended, or had its checkpoint before")
        self._attempted = sequence  # tried or done: the name of a checkpoint is never written again
        try:
            async with self._publishing:
                superseded = self._held.root.checkpoint
                await self._publish(position, image, completed_total)
        except (Deposed, CorruptObject, StoreFailed, NotLeader) as reason:
            self.end(reason)
            raise self._not_leader() from reason
        except Exception:
            self._settler.counters.checkpoints_failed += 1
            raise
        self._checkpointed_bytes = position.log_bytes
        self._settler.counters.checkpoints += 1
        self._settler.counters.checkpoint_bytes += self._held.root.checkpoint.size
        self._cleaning = asyncio.get_running_loop().create_task(self._clean(self._cleaning, sequence, superseded))

    async def switch_on(self, features: Set[str]) -> None:
        """Let the stored data use these features: returns once the root says so.

        `FeatureUnavailable` names a broker that attends and does not understand one of them; nothing was changed then.
        Standbys that do not attend find the feature in the root, and keep their hands off the queue.
        """
        missing = set(features).difference(self._held.root.needs)
        if not missing:
            return
        if self.lost.over:
            raise self._not_leader()
        for standby in self.standbys.attending if self.standbys is not None else ():
            if unknown := missing - standby.features:
                names = " and ".join(map(repr, sorted(unknown)))
                release = f"osqueue {standby.release}" if standby.release else "an earlier osqueue"
                raise FeatureUnavailable(
                    f"the queue cannot use {names} yet: the broker at {standby.address}, which could take over, is "
                    f"{release} and does not know it: upgrade or stop that broker, and call again"
                )
        await self.change_root(
            lambda root: msgspec.structs.replace(root, needs=tuple(sorted(missing.union(root.needs))))
        )
        log.info("the queue uses %s from now on; releases that do not know it can no longer lead it", sorted(missing))

    async def change_root(self, change: Callable[[Root], Root]) -> None:
        """Write what the root says beside who leads and what is vouched for; returns once it is known to say so.

        Raises `NotLeader` when the term is over.
        """
        if self.lost.over:
            raise self._not_leader()
        try:
            await self._held.swap(change)
        except (Deposed, CorruptObject, StoreError) as reason:
            # A store that denies for good ends a term when its root is renewed, and so it does here.
            self.end(reason)
            raise self._not_leader() from None

    async def hand_over(self, leave: Callable[[Root], Root] | None = None) -> None:
        """End the term and clear `broker` in the root, so that a standby takes over at once. `leave` is what the root
        becomes instead; `Deposed` when it is somebody else's by then.

        Whoever calls this has stopped appending and has had all answers. It returns when the
        root shows it; the caller bounds the wait, and if that is cut short standbys wait for their timeout.
        """
        if self.lost.over:
            return
        self.end(NotLeader("this broker is handing over"))
        try:
            await self._held.swap(leave or _vacated)
        except Deposed:
            if leave is not None:
                raise
            # Else somebody else leads already, which is all that was wanted.

    def end(self, reason: Exception) -> None:
        """End the term: nothing is acknowledged, renewed or cleaned up any more. Only the first reason counts."""
        if not self.lost.set(reason):
            return
        self.appender.end(reason)
        self._tenure.stop()
        if self._cleaning is not None and self._cleaning is not asyncio.current_task():
            self._cleaning.cancel()

    async def _publish(self, position: Position, image: Image, completed_total: int) -> None:
        written = await CheckpointWriter(self._settler, self.incarnation, position).write(image, INLINE_BYTES_MAX)

        def vouch(root: Root) -> Root:
            if self.lost.over:
                raise self._not_leader()  # what was handed over is no longer ours to move on
            return msgspec.structs.replace(
                root,
                checkpoint=written.ref,
                state=written.state,
                adopted=None,
                completed_total=completed_total,
            )

        await self.appender.until_released(position.sequence)
        await self._points.keep(self._held.root)
        await self._held.swap(vouch)
        confirmed = await self._held.confirm()
        if self.lost.over:
            raise self._not_leader()
        if confirmed.checkpoint != written.ref:
            raise CorruptObject(ROOT, "it is this broker's, yet does not name the checkpoint it has just been given")

    async def _clean(self, before: asyncio.Task[None] | None, sequence: int, superseded: CheckpointRef) -> None:
        if before is not None:
            await asyncio.wait({before})
        pause_ms, complete = CLEAN_UP_PAUSE_MS, await self._cleaned(self._cleanup.run(sequence, superseded))
        # A later checkpoint has a clean-up of its own, which begins with what this one left.
        while not complete and self._attempted == sequence and not self.lost.over:
            await self._settler.clock.sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, CLEAN_UP_PAUSE_MS_MAX)
            complete = await self._cleaned(self._cleanup.again(sequence))

    async def _cleaned(self, work: Awaitable[bool]) -> bool:
        """Whether everything went. What stays costs its storage and nothing else, so it ends no term."""
        try:
            complete = await work
        except StoreFailed as reason:
            self.end(reason)
            return False
        except Exception:
            log.exception("the clean-up behind a checkpoint failed; it is tried again")
            complete = False
        self._settler.counters.cleanups_failed += not complete
        return complete

    async def _confirm_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._reading, self._queued = self._queued, None  # who calls from here on waits for the next read
        try:
            self._held.mine(await self._settler.store.read(ROOT))
        except (StoreUnknown, StoreUnavailable) as trouble:
            raise StorageUnavailable(f"leadership could not be confirmed: {trouble}", retry_after_ms=1_000) from None
        except Exception as reason:  # noqa: BLE001
            self.end(reason)
            raise self._not_leader() from None
        if self.lost.over:
            raise self._not_leader()

    def _not_leader(self) -> NotLeader:
        reason = self.lost.result()
        leader = reason.leader if isinstance(reason, Deposed) else ""
        return NotLeader(f"this broker no longer leads: {reason}", leader_address=leader)


def _vacated(root: Root) -> Root:
    return msgspec.structs.replace(root, broker=None, grpc_address=None)


def _mark_retrieved(task: asyncio.Task[None]) -> None:
    """All who asked may have gone: then nobody is left to raise the outcome to."""
    if not task.cancelled():
        task.exception()

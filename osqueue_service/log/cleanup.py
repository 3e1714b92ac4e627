"""Deleting what a vouched checkpoint has made superfluous, and never a fence.

Deletes may fail, be repeated, or arrive years later: nothing depends on them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from osqueue_service.errors import CorruptObject, StoreFailed
from osqueue_service.log.paths import (
    CHECKPOINTS_PREFIX,
    LOG_PREFIX,
    checkpoint_key,
    checkpoint_prefix,
    lane_prefix,
    parse_checkpoint_key,
    parse_segment_key,
    segment_key,
)
from osqueue_service.log.restore_points import RestorePoints
from osqueue_service.log.root import CheckpointRef
from osqueue_service.log.segment import Fence, decode
from osqueue_service.log.settle import Settler

PAGE_KEYS = 1_000
PARALLEL = 16
"""Deletes, or reads of objects that may be fences, under way at once."""
LEFT_MAX = 10_000
"""Objects remembered whose delete failed."""


class Cleanup:
    """The clean-up of one leader. Call `run` only after the root, read back as mine, vouches for the checkpoint.

    What this leader itself wrote it knows by name. What others left is listed once a term: what
    lands there later no reader reaches, and the next leader finds. What restore points need stays.
    """

    def __init__(self, settler: Settler, epoch: int, first: int, points: RestorePoints | None = None) -> None:
        """`first` is the first sequence of the leader's own lane."""
        self._settler = settler
        self._epoch = epoch
        self._points = points or RestorePoints(settler, 0)
        self._own_from = first
        self._left: list[str] = []
        self._swept = False
        self._swept_to = ""
        """The key in the log up to which what others left is gone."""
        self._swept_so_far = False
        self._checkpoints_swept = False

    async def run(self, sequence: int, superseded: CheckpointRef) -> bool:
        """Delete what the checkpoint at `sequence` of this leader's own lane supersedes, `superseded` among it.

        Returns whether all of it went; what did not, `again` tries.
        """
        complete = await self._let_points_go(sequence)
        left, self._left = self._left, []
        await _in_parallel(left, self._delete_known)
        if self._checkpoints_swept and superseded.sequence < sequence and not self._is_held(superseded):
            parts = [checkpoint_key(superseded.sequence, superseded.epoch, part) for part in range(superseded.parts)]
            await _in_parallel(parts, self._delete_known)
        return await self._finish(sequence) and complete

    async def again(self, sequence: int) -> bool:
        """Delete what the clean-up up to `sequence` could not; whether all of it went. A store that still refuses is
        asked once."""
        keys, self._left = self._left, []
        if keys and not await self._delete(keys[0]):
            self._left = keys
            return False
        await _in_parallel(keys[1:], self._delete_known)
        complete = await self._let_points_go(sequence)
        return await self._finish(sequence) and complete

    def _is_held(self, checkpoint: CheckpointRef) -> bool:
        return self._points.holds(checkpoint.sequence, checkpoint.epoch)

    async def _let_points_go(self, sequence: int) -> bool:
        """A point goes before what it needs, so that none names what is not there."""
        complete = True
        for point in await self._points.lapsed(sequence):
            if not await self._delete(point.key):
                return False  # the later ones must wait: the log behind this one is still needed
            self._points.forget(point)
            if self._checkpoints_swept and not self._points.holds(point.sequence, point.epoch):
                prefix = checkpoint_prefix(point.sequence, point.epoch)
                complete &= await self._sweep(prefix, prefix + "~", lambda key: True, self._delete_known)
        return complete

    async def _finish(self, sequence: int) -> bool:
        epoch, upto = self._points.oldest(sequence, self._epoch)
        if epoch == self._epoch and upto >= self._own_from:
            # Up to a released sequence every slot of the own lane is known to hold a segment: no need to look.
            first, self._own_from = self._own_from, upto + 1
            await _in_parallel((segment_key(self._epoch, own) for own in range(first, upto + 1)), self._delete_known)
        if not self._checkpoints_swept:
            self._checkpoints_swept = await self._sweep_checkpoints_of_others(sequence)
        if not self._swept:
            await self._sweep_log_of_others(epoch, upto)
        return self._checkpoints_swept and self._swept_so_far and not self._left

    async def _sweep_checkpoints_of_others(self, sequence: int) -> bool:
        def superfluous(key: str) -> bool:
            path = parse_checkpoint_key(key)
            return path is not None and path.sequence < sequence and not self._points.holds(path.sequence, path.epoch)

        return await self._sweep(CHECKPOINTS_PREFIX, checkpoint_prefix(sequence, 0), superfluous, self._delete)

    async def _sweep_log_of_others(self, epoch: int, upto: int) -> None:
        """Sweep the lower lanes up to a place of the log: keys sort as the log runs."""
        own = lane_prefix(self._epoch)
        end = segment_key(epoch, upto) if epoch < self._epoch else own

        def in_lower_lane(key: str) -> bool:
            slot = parse_segment_key(key)
            return slot is not None and slot.lane < self._epoch and key <= end

        self._swept_so_far = await self._sweep(
            LOG_PREFIX, end, in_lower_lane, self._delete_unless_fence, after=self._swept_to
        )
        if self._swept_so_far:
            self._swept_to, self._swept = end, end == own

    async def _sweep(
        self,
        prefix: str,
        end: str,
        superfluous: Callable[[str], bool],
        remove: Callable[[str], Awaitable[bool]],
        after: str = "",
    ) -> bool:
        """Remove the superfluous keys below `prefix`, behind `after` and up to `end`; whether all of them went."""
        complete = True
        while after < end and (page := await self._settler.list_after(prefix, after, PAGE_KEYS)):
            complete &= await _in_parallel([key for key in page if superfluous(key)], remove)
            after = page[-1]
        return complete

    async def _delete_known(self, key: str) -> bool:
        gone = await self._delete(key)
        if not gone and len(self._left) < LEFT_MAX:
            self._left.append(key)  # for the next time; beyond the limit, for the next leader
        return gone

    async def _delete(self, key: str) -> bool:
        try:
            await self._settler.store.delete(key)
        except StoreFailed:
            raise
        except Exception:  # noqa: BLE001
            # What stays costs its storage and nothing else, whatever the reason; a later try deletes it.
            self._settler.counters.deletes_failed += 1
            return False
        self._settler.counters.deletes += 1
        return True

    async def _delete_unless_fence(self, key: str) -> bool:
        found = await self._settler.read(key)
        if found is None:
            return True
        try:
            entry = decode(key, found.body).entry
        except CorruptObject:
            # It may have been a fence, so it stays; `osqueue verify` reports it.
            self._settler.counters.deletes_failed += 1
            return False
        return True if isinstance(entry, Fence) else await self._delete(key)


async def _in_parallel(keys: Iterable[str], remove: Callable[[str], Awaitable[bool]]) -> bool:
    todo = iter(keys)

    async def work() -> bool:
        complete = True
        for key in todo:
            complete &= await remove(key)
        return complete

    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(PARALLEL)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return all(worker.result() for worker in workers)

"""Writing checkpoints while commits go on.

A snapshot is taken between two commits and encoded a few hundred jobs at a time; between
two slices everything else runs. The log makes it the recovery point once the commit it
stands for is durable.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from osqueue_service.clock import Clock
from osqueue_service.engine.term import Term
from osqueue_service.errors import NotLeader
from osqueue_service.log.root import CONTENT_FORMAT
from osqueue_service.state.image import Snapshot
from osqueue_service.state.state import State

log = logging.getLogger(__name__)

TAIL_COMMITS_MAX = 8_192
"""Commits behind the last checkpoint at which another is written however little they changed: a recovery reads each."""

RETRY_MS = 1_000
"""A checkpoint that failed is tried again with the first commit after this long, then twice as long, and so on,"""
RETRY_MS_MAX = 300_000
"""up to this."""


def changes_of(state: State) -> int:
    """How often a job was changed since the queue began."""
    totals = state.counters
    ended = totals.completed + totals.cancelled + totals.failed + totals.expired + totals.timed_out + totals.released
    return totals.submitted + totals.claimed + ended


class Checkpointer:
    """At most one checkpoint at a time. `on_end` is called with each attempt that is over."""

    def __init__(self, term: Term, state: State, clock: Clock, on_end: "Callable[[asyncio.Task[None]], None]") -> None:
        self._on_end = on_end
        self._term = term
        self._state = state
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._changes_before: int | None = None
        """As of the last checkpoint of this term. How much earlier leaders changed since theirs is not known: the first
        one goes by the weight of the log alone."""
        self._not_before_ms = float("-inf")
        self._retry_ms = RETRY_MS
        self.written = 0
        """Checkpoints that became the recovery point in this term."""

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def consider(self, monotonic: float) -> bool:
        """Begin a checkpoint if a recovery would have to read more log than state; whether one has begun."""
        if self.running or monotonic < self._not_before_ms or not self._is_due():
            return False
        self._task = asyncio.get_running_loop().create_task(self._write(), name="checkpoint")
        self._task.add_done_callback(self._on_end)
        return True

    async def stop(self) -> None:
        """Give up a checkpoint under way: what it wrote is cleaned up after the next one."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """As `stop`, without waiting."""
        if self._task is not None:
            self._task.cancel()

    def _is_due(self) -> bool:
        checkpoint = self._term.root.checkpoint
        if checkpoint.form == "seed" or checkpoint.format != CONTENT_FORMAT:
            # The jobs of an adopted queue lie in the root until there is a checkpoint of our own; and what an earlier
            # format left is read only once.
            return True
        if not self._term.checkpoint_due():
            return False
        # Bytes are one half of what a checkpoint costs, the time to encode every job is the other: as many changes
        # must have been logged as there are jobs, unless a recovery would have to read very many objects.
        if self._changes_before is None:
            return True
        changes = changes_of(self._state) - self._changes_before
        tail = self._term.appender.next_sequence - 1 - checkpoint.sequence
        return changes >= len(self._state.jobs) or tail >= TAIL_COMMITS_MAX

    async def _write(self) -> None:
        # No await between these lines: the snapshot is of exactly this commit.
        sequence = self._term.appender.next_sequence - 1
        changes_before, self._changes_before = self._changes_before, changes_of(self._state)
        snapshot = Snapshot(self._state)
        try:
            await self._term.publish_checkpoint(
                sequence,
                self._slices(snapshot),
                self._state.counters.completed,
            )
            self.written += 1
            self._retry_ms = RETRY_MS
        except NotLeader as reason:
            # Safe: the state lives in the log all the same, and the next leader writes its own checkpoints.
            log.info("the checkpoint after commit %d was given up: %s", sequence, reason)
        except Exception:
            # Without it a recovery reads more log, and nothing else is wrong: not a reason to stop leading.
            self._changes_before = changes_before
            if self._retry_ms == RETRY_MS:
                log.exception("the checkpoint after commit %d failed; it is tried again with a later commit", sequence)
            self._not_before_ms = self._clock.monotonic_ms() + self._retry_ms
            self._retry_ms = min(2 * self._retry_ms, RETRY_MS_MAX)
        finally:
            snapshot.close()

    async def _slices(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        for part in snapshot.parts():
            yield part
            await self._clock.sleep_ms(0)

"""Writing checkpoints while commits go on.

A snapshot is taken between two commits and encoded a few hundred jobs at a time; between
two slices everything else runs. The log makes it the recovery point once the commit it
stands for is durable.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec

from osqueue_service.clock import Clock
from osqueue_service.engine.term import Term
from osqueue_service.errors import NotLeader
from osqueue_service.state.image import Snapshot
from osqueue_service.state.seed_shape import seed_jobs
from osqueue_service.state.state import State

log = logging.getLogger(__name__)

# Above this many live jobs the root does not show them: the state is far too large to lie in it.
_SHOWN_JOBS_MAX = 1_000


class Checkpointer:
    """At most one checkpoint at a time."""

    def __init__(self, term: Term, state: State, clock: Clock) -> None:
        self._term = term
        self._state = state
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.written = 0
        """Checkpoints that became the recovery point in this term."""

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def consider(self) -> None:
        """Begin a checkpoint if the log has grown enough."""
        if not self.running and self._term.checkpoint_due():
            self._task = asyncio.get_running_loop().create_task(self._write(), name="checkpoint")

    async def stop(self) -> None:
        """Give up a checkpoint under way: what it wrote is cleaned up after the next one."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """As `stop`, without waiting."""
        if self._task is not None:
            self._task.cancel()

    async def _write(self) -> None:
        # No await between these lines: the snapshot is of exactly this sequence.
        sequence = self._term.appender.next_sequence - 1
        shown = seed_jobs(self._state) if self._state.live <= _SHOWN_JOBS_MAX else None
        completed_total = self._state.counters.completed
        snapshot = Snapshot(self._state)
        try:
            await self._term.publish_checkpoint(
                sequence, self._slices(snapshot), [msgspec.Raw(job) for job in shown] if shown is not None else None,
                completed_total,
            )  # fmt: skip
            self.written += 1
        except NotLeader:
            log.info("the checkpoint after commit %d was given up: this broker no longer leads", sequence)
        finally:
            snapshot.close()

    async def _slices(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        for part in snapshot.parts():
            yield part
            await self._clock.sleep_ms(0)

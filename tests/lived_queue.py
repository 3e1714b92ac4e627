"""A queue that has lived: commits, checkpoints, takeovers over one bucket in memory, and what its state was after each.

For tests of what is read from a store: recoveries, the way back in time, damage.
"""

import random

from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import OsqueueError
from osqueue_service.leadership import Addresses, Elector, Term
from osqueue_service.state import image
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from tests.core import Core
from tests.unit.log.virtual import SeededIds, VirtualClock

MINUTE = 60_000


class LivedQueue:
    """A queue that lives through commits, checkpoints and takeovers, and what its state was after each commit."""

    def __init__(self, seed: int, retention_ms: int = 0, payload_bytes: int = 20) -> None:
        self.bucket = MemoryBucket()
        self.clock = VirtualClock()
        self.random = random.Random(seed)
        self.store = MemoryStore(self.bucket, clock=self.clock, put_ms=10, read_ms=2)
        self.core = Core(now_ms=self.clock.wall_ms())
        self.moments: dict[int, list[bytes]] = {}
        self.term: Term
        self._retention_ms = retention_ms
        self._payload_bytes = payload_bytes
        self._logged = 0

    async def live(self, steps: int) -> None:
        await self.lead()
        await self.commit()
        for _ in range(steps):
            match self.random.randrange(12):
                case 0:
                    await self.term.hand_over()
                    await self.lead()
                case 1 | 2:
                    await self.checkpoint()
                case _:
                    self.change()
                    await self.commit()
            await self.clock.sleep_ms(self.random.choice((0, 0, MINUTE, 20 * MINUTE)))

    async def lead(self) -> None:
        rebuild = Rebuild()
        ids = SeededIds(self.random.randrange(10**9))
        elector = Elector(
            self.store, self.clock, ids, addresses=Addresses("b:1", "b:2"), retention_ms=self._retention_ms
        )
        self.term = await elector.elect(rebuild, skip_wait=True)
        if self._logged:
            assert image.encode(rebuild.state) == image.encode(self.core.state)

    def change(self) -> None:
        self.core.now_ms = max(self.core.now_ms, self.clock.wall_ms())
        jobs = list(self.core.state.jobs.values())
        try:
            match self.random.randrange(5):
                case 0 if jobs:
                    self.core.cancel(self.core.state.job_id(self.random.choice(jobs)))
                case 1 if jobs:
                    self.core.purge(self.core.state.job_id(self.random.choice(jobs)))
                case 2:
                    for granted in self.core.claim():
                        self.core.complete(granted)
                case _:
                    self.core.submit("t", self.random.randbytes(self._payload_bytes))
        except OsqueueError:
            pass  # a finished job cannot be cancelled: nothing was changed

    async def commit(self) -> None:
        for body in self.core.log[self._logged :]:
            await self.term.appender.append(body, 1)
        self._logged = len(self.core.log)
        self.moments[self.core.state.stamp_ms] = image.encode(self.core.state)

    async def checkpoint(self) -> None:
        if self.term.appender.appended.sequence > self.term.root.checkpoint.sequence:
            parts = image.encode(self.core.state)
            await self.term.publish_checkpoint(self.term.appender.appended.sequence, parts, 0)
            await self.clock.sleep_ms(1_000)

"""Claiming jobs as slots become free: one lane for the types that share a worker's slots, one for each with its own."""

import asyncio
from collections.abc import Callable, Sequence

from osqueue.dispatch import Dispatcher
from osqueue.job import ClaimedJob

UNSETTLED_PER_SLOT = 10
UNSETTLED_MIN = 1_000
"""Outcomes on their way to the broker, beyond which a lane claims no more until they have arrived."""


class Lane:
    """`capacity` slots for jobs of these types (empty: any)."""

    def __init__(
        self,
        types: Sequence[str],
        capacity: int,
        dispatcher: Dispatcher,
        start: Callable[[ClaimedJob, "Lane"], None],
    ) -> None:
        self.types = tuple(types)
        self.capacity = capacity
        self.busy = 0
        self.unsettled = 0
        self._unsettled_max = max(UNSETTLED_PER_SLOT * capacity, UNSETTLED_MIN)
        self._dispatcher = dispatcher
        self._start = start
        self._room: asyncio.Future[None] | None = None

    async def run(self, *, until_idle: bool) -> None:
        """Claim and start jobs until cancelled, or, if told so, until there are none and none runs."""
        while True:
            free = await self._free()
            jobs = await self._dispatcher.claim(self.types, free, wait=not until_idle)
            for job in jobs:
                self.busy += 1
                self.unsettled += 1
                self._start(job, self)
            if not jobs and until_idle:
                if not self.unsettled:
                    return
                await self._change()

    def slot_freed(self) -> None:
        """A handler has ended."""
        self.busy -= 1
        self._wake()

    def settled(self) -> None:
        """A job's outcome has arrived."""
        self.unsettled -= 1
        self._wake()

    async def _free(self) -> int:
        while self.busy >= self.capacity or self.unsettled >= self._unsettled_max:
            await self._change()
        return self.capacity - self.busy

    async def _change(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

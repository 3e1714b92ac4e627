"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from osqueue_service.clock import Timer

T = TypeVar("T")


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._callback()


class ManualClock:
    """Wall and monotonic time advance together, only by `advance_ms`."""

    def __init__(self, wall_ms: int = 1_800_000_000_000) -> None:
        self._wall_start_ms = wall_ms
        self._now_ms = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()
        self.slept_ms: list[float] = []

    def wall_ms(self) -> int:
        return self._wall_start_ms + int(self._now_ms)

    def monotonic_ms(self) -> float:
        return self._now_ms

    def set_wall_ms(self, wall_ms: int) -> None:
        self._wall_start_ms = wall_ms - int(self._now_ms)

    async def sleep_ms(self, delay_ms: float) -> None:
        self.slept_ms.append(delay_ms)
        done = asyncio.get_running_loop().create_future()
        timer = self.call_later_ms(delay_ms, lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            timer.cancel()

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._now_ms + delay_ms, next(self._numbers), timer))
        return timer

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        raise NotImplementedError("no store limits the time of another")

    async def advance_ms(self, by_ms: float) -> None:
        """Move on, firing what is due in order and letting everybody react in between."""
        end_ms = self._now_ms + by_ms
        await settle()
        while self._timers and self._timers[0][0] <= end_ms:
            self._now_ms, _, timer = heapq.heappop(self._timers)
            timer.fire()
            await settle()
        self._now_ms = end_ms
        await settle()


class ImpatientClock(ManualClock):
    """Time jumps to the end of each sleep, so nothing ever waits."""

    async def sleep_ms(self, delay_ms: float) -> None:
        self.slept_ms.append(delay_ms)
        self._now_ms += delay_ms
        await asyncio.sleep(0)


async def settle(turns: int = 20) -> None:
    """Give every task so many turns: it then waits for something else than its turn."""
    for _ in range(turns):
        await asyncio.sleep(0)

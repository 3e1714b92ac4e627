"""The queue's time in a test: it stands still until somebody moves it."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class _Timer:
    """A callback that waits for its moment."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class StandingClock:
    """A `Clock` for a broker. Timers belong to the broker's event loop; the time may be read from any thread."""

    def __init__(self, wall_ms: int) -> None:
        self._began_ms = wall_ms
        self._passed_ms = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()

    # --- what a broker asks ------------------------------------------------------------------------------------------

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._began_ms + int(self._passed_ms)

    def monotonic_ms(self) -> float:
        """Milliseconds since the test began."""
        return self._passed_ms

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> _Timer:
        """Call `callback` once time has been moved on by `delay_ms`."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._passed_ms + max(0.0, delay_ms), next(self._numbers), timer))
        return timer

    async def sleep_ms(self, delay_ms: float) -> None:
        """Return once time has been moved on by `delay_ms`; with 0, let others run."""
        if delay_ms <= 0:
            await asyncio.sleep(0)
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later_ms(delay_ms, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        """The result of `work`, or `TimeoutError` once time has been moved on by `limit_ms`."""
        async with asyncio.timeout(None) as limit:
            timer = self.call_later_ms(limit_ms, lambda: limit.reschedule(0))
            try:
                return await work
            finally:
                timer.cancel()

    # --- what a test does --------------------------------------------------------------------------------------------

    def next_ms(self) -> int | None:
        """The wall time at which the next timer is due, rounded up; None when there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._began_ms - int(-self._timers[0][0] // 1) if self._timers else None

    def move_to(self, wall_ms: int) -> None:
        """It is `wall_ms` now, or still later; whatever is due by then is called."""
        self._passed_ms = max(self._passed_ms, float(wall_ms - self._began_ms))
        while self._timers and self._timers[0][0] <= self._passed_ms:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

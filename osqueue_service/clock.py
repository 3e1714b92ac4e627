"""Time, as the rest of the broker sees it.

Only this module reads a clock or waits for one. Everything else is handed a `Clock`,
so that a simulator can own time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A pending call that can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A source of time and the only way to wait for it."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch. May jump; never used to measure a duration."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds since some fixed moment. Never jumps, never goes back."""
        ...

    async def sleep_ms(self, delay_ms: float) -> None:
        """Return after `delay_ms` milliseconds."""
        ...

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` after `delay_ms` milliseconds unless the timer is cancelled."""
        ...

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        """The result of `work`, or `TimeoutError` (and `work` cancelled) after `limit_ms`."""
        ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1_000

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(delay_ms / 1_000)

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1_000, callback)

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        async with asyncio.timeout(limit_ms / 1_000):
            return await work

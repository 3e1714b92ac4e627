"""Waiting for a while, unless there is news before."""

import asyncio

from osqueue_service.clock import Clock


class Pause:
    """The pauses of one task that looks at something now and then; `wake` cuts short the one under way, or the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is news: look now."""
        self._news.set()

    async def sleep_ms(self, delay_ms: float) -> None:
        """Return after `delay_ms` milliseconds, or when woken."""
        try:
            await self._clock.within_ms(delay_ms, self._news.wait())
        except TimeoutError:
            return  # nothing happened, as mostly
        self._news.clear()

"""A clock that is compared with the store's, so that one that is years ahead spoils no queue.

A clock that is behind does little harm: time waits, and the next leader's goes on. What is stamped years ahead cannot
be undone: retention, keys and dead letters lapse at once, and every later leader begins at the last stamp in the log.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from osqueue_service.clock import Clock, Timer
from osqueue_service.errors import ClockAhead
from osqueue_service.limits import MINUTE_MS

log = logging.getLogger(__name__)

CLOCK_AHEAD_LIMIT_MS = 5 * MINUTE_MS
"""How far this machine's clock may be ahead of the store's. Clocks that are kept in step are within a second."""
AHEAD_LOG_MS = 10 * MINUTE_MS
"""How often a leader says that its clock is further ahead."""

T = TypeVar("T")


class GuardedClock:
    """A `Clock` whose wall clock is never further ahead of the store's than the limit.

    `store_time` tells the milliseconds since the Unix epoch by the store's clock, or None where that is not known: then
    this is the clock as it is.
    """

    def __init__(self, clock: Clock, store_time: Callable[[], int | None], where: str) -> None:
        """`where`: the store's description, for messages."""
        self.monotonic_ms: Callable[[], float] = clock.monotonic_ms
        self.sleep_ms: Callable[[float], Coroutine[Any, Any, None]] = clock.sleep_ms
        self.call_later_ms: Callable[[float, Callable[[], None]], Timer] = clock.call_later_ms
        self._clock = clock
        self._store_time = store_time
        self._where = where
        self._logged_ms = float("-inf")

    @property
    def ahead_ms(self) -> int | None:
        """How far this machine's clock is ahead of the store's, negative when it is behind; None where that is not
        known."""
        there_ms = self._store_time()
        return None if there_ms is None else self._clock.wall_ms() - there_ms

    def find_fault(self) -> ClockAhead | None:
        """Why a broker with this clock must not lead, if it must not."""
        ahead_ms = self.ahead_ms
        if ahead_ms is None or ahead_ms <= CLOCK_AHEAD_LIMIT_MS:
            return None
        return ClockAhead(self._clock.wall_ms(), ahead_ms, self._where)

    def wall_ms(self) -> int:
        now_ms = self._clock.wall_ms()
        if (fault := self.find_fault()) is None:
            return now_ms
        monotonic_ms = self.monotonic_ms()
        if monotonic_ms - self._logged_ms >= AHEAD_LOG_MS:
            self._logged_ms = monotonic_ms
            log.error("%s; the queue's time goes by the store's clock meanwhile", fault)
        return min(now_ms, now_ms - fault.ahead_ms + CLOCK_AHEAD_LIMIT_MS)

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        return await self._clock.within_ms(limit_ms, work)

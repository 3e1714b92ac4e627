"""The time by the store's own clock, as the dates of its answers tell it."""

import threading
from collections import deque
from email.utils import parsedate_to_datetime

from osqueue_service.clock import Clock

ANSWERS = 16
"""The dates that are kept. Of the machines of a store that were heard last, the one whose clock is furthest ahead
counts: one of them that lives in the past must not stop a queue."""


class StoreTime:
    """Told the date of every answer, by whatever thread; knows what time it is there by now.

    A date is cut to the second and has travelled, so the time known is a second or so behind the store's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offsets: deque[float] = deque(maxlen=ANSWERS)
        """How far the store's clock was ahead of our monotonic one."""
        self._last = ""

    def answered(self, date: str | None) -> None:
        """An answer with this header `Date` has just arrived. One that cannot be read tells nothing."""
        if not date or date == self._last:
            return
        try:
            told_ms = parsedate_to_datetime(date).timestamp() * 1_000
        except (ValueError, OverflowError):
            return
        with self._lock:
            self._last = date
            self._offsets.append(told_ms - self._clock.monotonic_ms())

    def now_ms(self) -> int | None:
        """Milliseconds since the Unix epoch; None before any answer told a date."""
        with self._lock:
            if not self._offsets:
                return None
            offset = max(self._offsets)
        return int(self._clock.monotonic_ms() + offset)

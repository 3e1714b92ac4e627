"""The time that commits are stamped with: it neither jumps nor stands still.

At takeover it is the wall clock, or the last stamp in the log if that is later, so that
stamps never fall whatever an earlier leader's clock said. From then on it follows the
monotonic clock, and is slewed towards the wall by at most one part in twenty.
"""

from osqueue_service.clock import Clock

_SLEW_MAX = 0.05
# A difference from the wall clock of this many milliseconds is corrected at the full slew.
_SLEW_FULL_AT_MS = 1_000.0


class QueueTime:
    """Milliseconds since the Unix epoch, as this leader stamps them."""

    def __init__(self, clock: Clock, last_stamp_ms: int) -> None:
        self._clock = clock
        self._read_at = clock.monotonic_ms()
        self._now = float(max(clock.wall_ms(), last_stamp_ms))

    def now_ms(self) -> int:
        """The present moment; never less than the last one returned."""
        monotonic = self._clock.monotonic_ms()
        elapsed = monotonic - self._read_at
        if elapsed > 0:
            self._now += elapsed
            self._read_at = monotonic
            behind = self._clock.wall_ms() - self._now
            correction = elapsed * min(1.0, abs(behind) / _SLEW_FULL_AT_MS) * _SLEW_MAX
            # Nobody may have asked for hours: then this reaches the wall, and must not pass it.
            self._now += max(-correction, min(correction, behind))
        return int(self._now)

"""One pending wake-up: the earliest moment at which anything is due."""

from collections.abc import Callable

from osqueue_service.clock import Clock, Timer


class Alarm:
    """Calls `ring` at the earliest of the moments it was set to since it last rang."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: Timer | None = None
        self._at = 0.0

    def set(self, monotonic_ms: float) -> None:
        """Ring at this moment at the latest; at once if it has passed."""
        if self._timer is not None:
            if self._at <= monotonic_ms:
                return
            self._timer.cancel()
        self._at = monotonic_ms
        self._timer = self._clock.call_later_ms(max(0.0, monotonic_ms - self._clock.monotonic_ms()), self._fire)

    def cancel(self) -> None:
        """Do not ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._ring()

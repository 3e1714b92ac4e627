"""The engine's time: what commits are stamped with, and when it wakes next.

Stamps neither jump nor stand still. At takeover they begin at the wall clock, or at the last
stamp in the log if that is later, so that they never fall whatever an earlier leader's clock
said. From then on they follow the monotonic clock, and are slewed towards the wall by at most
one part in twenty.
"""

from collections.abc import Callable

from msgspec import Struct

from osqueue_service.clock import Clock, Timer

LOOK_MS = 1_000
"""How often the wall clock is looked at: however far off the queue's time is, it is led by 50 ms in this time."""

_SLEW_MAX = 0.05
# A difference from the wall clock of this many milliseconds is corrected at the full slew.
_SLEW_FULL_AT_MS = 1_000.0


class Moment(Struct, frozen=True, gc=False):
    """The time, read once for each step of the engine: `monotonic` measures durations, `queue_ms` is what a commit is
    stamped with (milliseconds since the Unix epoch)."""

    monotonic: float
    queue_ms: int


class QueueTime:
    """The time as this leader stamps it."""

    def __init__(self, clock: Clock, last_stamp_ms: int) -> None:
        self._clock = clock
        self._read_at = self._looked_at = clock.monotonic_ms()
        wall_ms = clock.wall_ms()
        self._now = float(max(wall_ms, last_stamp_ms))
        self._behind = wall_ms - self._now
        """How far the queue's time is behind the wall clock, as far as that is known."""

    def read(self) -> Moment:
        """The present moment; its `queue_ms` is never less than the last one returned."""
        monotonic = self._clock.monotonic_ms()
        elapsed = monotonic - self._read_at
        if elapsed > 0:
            self._now += elapsed
            self._read_at = monotonic
            if monotonic - self._looked_at >= LOOK_MS:
                self._looked_at = monotonic
                self._behind = self._clock.wall_ms() - self._now
            behind = self._behind
            correction = elapsed * min(1.0, abs(behind) / _SLEW_FULL_AT_MS) * _SLEW_MAX
            # Nobody may have asked for hours: then this reaches the wall, and must not pass it.
            correction = max(-correction, min(correction, behind))
            self._now += correction
            self._behind = behind - correction
        return Moment(monotonic, int(self._now))

    def now_ms(self) -> int:
        """Queue time now."""
        return self.read().queue_ms


class Alarm:
    """Calls `ring` at the earliest of the moments it was set to since it last rang."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: Timer | None = None
        self._at = 0.0

    def set(self, monotonic_ms: float, now: float) -> None:
        """Ring at this moment at the latest; at once if it has passed. `now` is the present one."""
        if self._timer is not None:
            if self._at <= monotonic_ms:
                return
            self._timer.cancel()
        self._at = monotonic_ms
        self._timer = self._clock.call_later_ms(max(0.0, monotonic_ms - now), self._fire)

    def cancel(self) -> None:
        """Do not ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._ring()

"""When to commit: at once when idle, in company under load.

While puts are under way, the next one starts when a fair share of a put's duration has
passed since the last: with a pipeline of depth d the starts of commits are spread evenly,
so that a change waits about 1/(2d) of a put for company, not for the put before it to
return. Callers answered by one commit call again together, so where there are several, a
put that may start waits while they keep coming, at most as long again. None of this makes a change
wait longer than the group commit interval. Only a spacing that was asked for, to save storage
requests, holds back a change that is alone.
"""

from osqueue_service.clock import Clock
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.term import Lane

SPACING_MIN_MS = 5
"""Among several callers, starts of commits are at least this far apart however fast the store is: a commit costs the
broker about a millisecond of work whatever is in it, so 200 a second is all that may go into them."""
LINGER_MS = 1.5
"""Changes that follow each other within this time are still coming in: four or five unary calls are read in it."""


class Pacing:
    """Decides how long a change that is ready waits for company."""

    def __init__(self, clock: Clock, lane: Lane, settings: EngineSettings) -> None:
        self._clock = clock
        self._lane = lane
        self._interval_ms = settings.group_commit_interval_ms
        self._spacing_ms = settings.commit_spacing_ms
        self._last_put = float("-inf")
        self._first_arrival: float | None = None
        self._last_arrival = 0.0

    def arrived(self) -> None:
        """A change has arrived."""
        self._last_arrival = self._clock.monotonic_ms()
        if self._first_arrival is None:
            self._first_arrival = self._last_arrival

    def put(self) -> None:
        """A commit has been put; whatever waited went with it."""
        self._last_put = self._clock.monotonic_ms()
        self._first_arrival = None

    def company_ms(self, callers: int) -> float:
        """How long to wait before the next put, while the puts under way are to answer `callers` calls; 0 or less: put
        now."""
        at = self._company_at(callers) if self._lane.in_flight else float("-inf")
        return max(at, self._last_put + self._spacing_ms) - self._clock.monotonic_ms()

    def _company_at(self, callers: int) -> float:
        """When the next put may start beside those under way."""
        spacing = self._lane.latency_ms / self._lane.depth
        several = callers > 1
        if several:
            spacing = max(spacing, SPACING_MIN_MS)
        at = self._last_put + spacing
        if self._first_arrival is not None:
            if several:
                at = max(at, min(self._last_arrival + LINGER_MS, self._first_arrival + spacing))
            at = min(at, self._first_arrival + self._interval_ms)
        return at

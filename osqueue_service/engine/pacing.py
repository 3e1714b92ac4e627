"""When to commit: at once when idle, in company under load.

While puts are under way, the next one starts when a fair share of a put's duration has
passed since the last: with a pipeline of depth d the starts of commits are spread evenly,
so that a change waits about 1/(2d) of a put for company, not for the put before it to
return. An explicit interval spaces the starts instead, to save storage requests.
"""

from osqueue_service.clock import Clock
from osqueue_service.engine.settings import DEFAULT_INTERVAL_MS, EngineSettings
from osqueue_service.engine.term import Lane


class Pacing:
    """Decides how long a change that is ready waits for company."""

    def __init__(self, clock: Clock, lane: Lane, settings: EngineSettings) -> None:
        self._clock = clock
        self._lane = lane
        self._interval_ms = settings.group_commit_interval_ms
        self._last_put = float("-inf")
        self._waiting_since: float | None = None

    def arrived(self) -> None:
        """A change has arrived."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic_ms()

    def put(self) -> None:
        """A commit has been put; whatever waited went with it."""
        self._last_put = self._clock.monotonic_ms()
        self._waiting_since = None

    def company_ms(self) -> float:
        """How long to wait before the next put; 0 or less: put now."""
        now = self._clock.monotonic_ms()
        if self._interval_ms is not None:
            return self._last_put + self._interval_ms - now
        if not self._lane.in_flight:
            return 0.0
        at = self._last_put + self._lane.latency_ms / self._lane.depth
        if self._waiting_since is not None:
            at = min(at, self._waiting_since + DEFAULT_INTERVAL_MS)
        return at - now

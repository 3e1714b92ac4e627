"""How many may run, and how fast they may start, under the limits of a log."""

from collections import defaultdict
from typing import TYPE_CHECKING

from osqueue_service.state.model import Ending
from osqueue_service.state.named_limits import NamedLimit

if TYPE_CHECKING:
    from tests.checkers.logbook import JobEntry

Key = tuple[str, str]
Bucket = tuple[float, int]
# What a key had started and not paid off yet, in cost, at a moment of the log.


class Slots:
    """Follows limits and attempts in the log by naive counting; what is wrong goes to `broken`. It knows limits that
    are put once, with jobs of cost 1."""

    def __init__(self, broken: list[str]) -> None:
        self._broken = broken
        self._limits: dict[str, NamedLimit] = {}
        self._running: dict[Key, set[str]] = defaultdict(set)
        self._buckets: dict[Key, Bucket] = {}

    def put(self, limit: NamedLimit) -> None:
        self._limits[limit.name] = limit

    def claimed(self, job: "JobEntry", at_ms: int) -> None:
        """An attempt begins: there is a slot for it, and what starts in any window is within burst and rate."""
        for use in job.spec.limits:
            limit, key = self._limits[use.limit], (use.limit, use.key)
            running = self._running[key]
            running.add(job.job_id)
            if 0 <= limit.max_running < len(running):
                self._broken.append(f"{key}: {len(running)} ran when {job.job_id} was claimed")
            if limit.rate is None:
                continue
            level = self._level(key, limit, at_ms) + 1
            self._buckets[key] = level, at_ms
            if level > limit.rate.burst + 0.001:
                self._broken.append(f"{key}: {job.job_id} was started {level - limit.rate.burst:.3f} too early")

    def ended(self, job: "JobEntry", at_ms: int, ending: Ending | None) -> None:
        """Its attempt is over; one that was given back did not use the rate."""
        for use in job.spec.limits:
            limit, key = self._limits[use.limit], (use.limit, use.key)
            self._running[key].discard(job.job_id)
            if limit.rate is not None and ending is Ending.RELEASED:
                self._buckets[key] = max(0.0, self._level(key, limit, at_ms) - 1), at_ms

    def _level(self, key: Key, limit: NamedLimit, at_ms: int) -> float:
        assert limit.rate is not None
        level, since = self._buckets.get(key, (0.0, at_ms))
        return max(0.0, level - (at_ms - since) * limit.rate.limit / limit.rate.period_ms)

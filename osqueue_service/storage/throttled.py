"""A store that spends requests no faster than it is allowed to.

Reads are limited per minute. Writes pass at once while the day's budget (UTC) lasts; above
it, or without one, they too are limited per minute. Nothing is ever refused, only delayed.
Deletes cost nothing on any store, so they are neither counted nor delayed; a listing counts
as a read. The day's count lives in this process: a restart begins with a full budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.metrics import Family, counter, gauge
from osqueue_service.storage.store import ObjectStore, StoredObject

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """How many requests may be sent; 0 = no limit."""

    reads_per_minute: int = 0
    writes_per_minute: int = 0
    writes_per_day: int = 0

    def __post_init__(self) -> None:
        for name in ("reads_per_minute", "writes_per_minute", "writes_per_day"):
            if getattr(self, name) < 0:
                raise ConfigError(f"S3_MAX_{name.upper()}: must be 0 (no limit) or more, not {getattr(self, name)}")

    @property
    def any(self) -> bool:
        return bool(self.reads_per_minute or self.writes_per_minute or self.writes_per_day)


@dataclass(slots=True)
class ThrottleStats:
    """How requests were throttled since the start; the day's figures since midnight (UTC)."""

    total_reads: int = 0
    total_writes: int = 0
    throttled_reads: int = 0
    throttled_writes: int = 0
    total_read_delay_ms: float = 0
    total_write_delay_ms: float = 0
    daily_write_count: int = 0
    daily_budget_exceeded: bool = False

    def families(self) -> list[Family]:
        """The figures as metrics; all requests are counted where they are sent."""
        throttled = counter("osqueue_store_throttled_total", "Requests that had to wait for the configured rate.")
        delay = counter("osqueue_store_throttle_delay_seconds_total", "How long requests waited for it.")
        exceeded = gauge("osqueue_store_daily_budget_exceeded", "1 when the day's budget of writes is spent.")
        return [
            throttled.add(self.throttled_reads, kind="read").add(self.throttled_writes, kind="write"),
            delay.add(self.total_read_delay_ms / 1_000, kind="read").add(
                self.total_write_delay_ms / 1_000, kind="write"
            ),
            exceeded.add(self.daily_budget_exceeded),
        ]


class TokenBucket:
    """`per_minute` tokens a minute, up to a second's worth (at least one) saved up. Who comes first is served first."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._clock = clock
        self._per_ms = per_minute / _MINUTE_MS
        self._burst = max(1.0, per_minute / 60)
        self._tokens = self._burst
        self._refilled_ms = clock.monotonic_ms()

    def take(self) -> float:
        """Take a token, perhaps one that is still to come; how many milliseconds until it does."""
        if not self._per_ms:
            return 0.0
        now_ms = self._clock.monotonic_ms()
        self._tokens = min(self._burst, self._tokens + (now_ms - self._refilled_ms) * self._per_ms) - 1
        self._refilled_ms = now_ms
        return max(0.0, -self._tokens / self._per_ms)

    def give_back(self) -> None:
        """Return a token that was not used."""
        self._tokens += 1


class Throttle:
    """The limits, the clock and the figures, shared by all views of one store."""

    def __init__(self, limits: ThrottleLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._stats = ThrottleStats()
        self._reads = TokenBucket(limits.reads_per_minute, clock)
        self._writes = TokenBucket(limits.writes_per_minute, clock)
        self._day = self._today()

    @property
    def stats(self) -> ThrottleStats:
        self._turn_day()
        return self._stats

    async def admit_read(self, *, delayed: bool) -> None:
        """Return when a read may be sent."""
        if delayed and (delay_ms := self._reads.take()):
            self._stats.throttled_reads += 1
            self._stats.total_read_delay_ms += delay_ms
            await self._wait(self._reads, delay_ms)
        self._stats.total_reads += 1

    async def admit_write(self, *, delayed: bool) -> None:
        """Return when a write may be sent."""
        self._turn_day()
        if delayed and not self._within_budget() and (delay_ms := self._writes.take()):
            if self._limits.writes_per_day:
                # At midnight there is a new budget, and nobody waits any more.
                delay_ms = min(delay_ms, (self._day + 1) * _DAY_MS - self._clock.wall_ms())
            self._stats.throttled_writes += 1
            self._stats.total_write_delay_ms += delay_ms
            await self._wait(self._writes, delay_ms)
            self._turn_day()
        self._stats.total_writes += 1
        self._stats.daily_write_count += 1
        budget = self._limits.writes_per_day
        self._stats.daily_budget_exceeded = bool(budget) and self._stats.daily_write_count >= budget

    def _within_budget(self) -> bool:
        return self._stats.daily_write_count < self._limits.writes_per_day

    async def _wait(self, bucket: TokenBucket, delay_ms: float) -> None:
        sent = False
        try:
            await self._clock.sleep_ms(delay_ms)
            sent = True
        finally:
            if not sent:
                bucket.give_back()

    def _today(self) -> int:
        return self._clock.wall_ms() // _DAY_MS

    def _turn_day(self) -> None:
        # A wall clock that is set back does not open a second budget for a day that had one.
        today = self._today()
        if today > self._day:
            self._day = today
            self._stats.daily_write_count = 0
            self._stats.daily_budget_exceeded = False


class ThrottledStore:
    """An `ObjectStore` over another one, within the limits of a `Throttle`.

    `undelayed()` is the same store for requests that must not wait (renewals, fences,
    recovery): counted like all others, never delayed, and no burden to those that are.
    """

    def __init__(self, inner: ObjectStore, throttle: Throttle, *, delayed: bool = True) -> None:
        self._inner = inner
        self._throttle = throttle
        self._delayed = delayed

    def undelayed(self) -> "ThrottledStore":
        return ThrottledStore(self._inner, self._throttle, delayed=False)

    @property
    def stats(self) -> ThrottleStats:
        return self._throttle.stats

    @property
    def description(self) -> str:
        return self._inner.description

    async def read(self, key: str) -> StoredObject | None:
        await self._throttle.admit_read(delayed=self._delayed)
        return await self._inner.read(key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        await self._throttle.admit_write(delayed=self._delayed)
        return await self._inner.put_if_absent(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        await self._throttle.admit_write(delayed=self._delayed)
        return await self._inner.put_if_version(key, body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        await self._throttle.admit_read(delayed=self._delayed)
        return await self._inner.list_after(prefix, after, limit)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def close(self) -> None:
        await self._inner.close()


def undelayed(store: ObjectStore) -> ObjectStore:
    """The same store for requests that must not wait; the store itself where nothing is throttled."""
    return store.undelayed() if isinstance(store, ThrottledStore) else store

"""What an object store was asked for, how it answered, how fast, and what that costs."""

from bisect import bisect_left
from dataclasses import dataclass, field

from osqueue_service.clock import Clock
from osqueue_service.metrics import Durations, Family, counter, gauge
from osqueue_service.storage.operations import Operation

# Upper bounds of the latency buckets, each 1.25 times the one before: a percentile is off by at most a quarter.
LATENCY_BOUNDS_MS = tuple(0.1 * 1.25**step for step in range(64))

_SLOT_MS = 10_000
_SLOTS = 6


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of a million requests of each kind. Refused conditional puts are billed as puts."""

    put: float = 0
    get: float = 0
    list: float = 0
    delete: float = 0
    currency: str = "USD"

    def of(self, operation: Operation) -> float:
        """The price of a million requests of this kind."""
        match operation:
            case Operation.READ:
                return self.get
            case Operation.LIST:
                return self.list
            case Operation.DELETE:
                return self.delete
            case Operation.PUT_IF_ABSENT | Operation.PUT_IF_VERSION:
                return self.put


FREE = PriceTable()
"""Where requests cost nothing, or nobody said what they cost."""


class RecentLatency:
    """Latencies of the last minute, in buckets; older ones leave ten seconds at a time."""

    def __init__(self) -> None:
        self._slots = [[0] * (len(LATENCY_BOUNDS_MS) + 1) for _ in range(_SLOTS)]
        self._newest = 0

    def observe(self, now_ms: float, latency_ms: float) -> None:
        self._advance(now_ms)
        self._slots[self._newest % _SLOTS][bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def percentile_ms(self, now_ms: float, fraction: float) -> float:
        """The upper bound of the bucket that holds this fraction; 0 when there was nothing in the last minute."""
        self._advance(now_ms)
        counts = [sum(column) for column in zip(*self._slots, strict=True)]
        left = fraction * sum(counts)
        if not left:
            return 0.0
        for bound, count in zip(LATENCY_BOUNDS_MS, counts, strict=False):
            left -= count
            if left <= 0:
                return bound
        return LATENCY_BOUNDS_MS[-1]

    def _advance(self, now_ms: float) -> None:
        current = int(now_ms // _SLOT_MS)
        for stale in range(max(self._newest + 1, current - _SLOTS + 1), current + 1):
            self._slots[stale % _SLOTS] = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        self._newest = max(self._newest, current)


@dataclass(slots=True)
class OperationUsage:
    """Figures of one kind of request. Bytes are those of bodies, sent or received."""

    requests: int = 0
    in_flight: int = 0
    refused: int = 0
    unknown: int = 0
    unavailable: int = 0
    denied: int = 0
    failed: int = 0
    cancelled: int = 0
    bytes: int = 0
    durations: Durations = field(default_factory=Durations)
    recent: RecentLatency = field(default_factory=RecentLatency)

    def answered(self, now_ms: float, latency_ms: float) -> None:
        """A request ended, however it did."""
        self.in_flight -= 1
        self.durations.observe(latency_ms / 1_000)
        self.recent.observe(now_ms, latency_ms)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests ended in which way; those that are neither of the others succeeded."""
        others = {
            "refused": self.refused,
            "unknown": self.unknown,
            "unavailable": self.unavailable,
            "denied": self.denied,
            "failed": self.failed,
            "cancelled": self.cancelled,
        }
        return {"ok": self.requests - self.in_flight - sum(others.values()), **others}

    @property
    def errors(self) -> int:
        """Requests that failed; a refused condition is an answer, a cancelled request is the caller's choice."""
        return self.unknown + self.unavailable + self.denied + self.failed


class StoreUsage:
    """The figures of one store since `since_ms` (wall clock)."""

    def __init__(self, clock: Clock, prices: PriceTable = FREE) -> None:
        self._clock = clock
        self.since_ms = clock.wall_ms()
        self.prices = prices
        self.operations = {operation: OperationUsage() for operation in Operation}

    def requests(self) -> int:
        """How many there have been."""
        return sum(usage.requests for usage in self.operations.values())

    @property
    def cost(self) -> float:
        """What all requests so far cost, in the price table's currency."""
        return sum(usage.requests * self.prices.of(kind) for kind, usage in self.operations.items()) / 1_000_000

    def latency_ms(self, operation: Operation, fraction: float) -> float:
        """This percentile of the last minute's latencies; 0 when there were no requests."""
        return self.operations[operation].recent.percentile_ms(self._clock.monotonic_ms(), fraction)

    def families(self) -> list[Family]:
        """The figures as metrics."""
        requests = counter("osqueue_store_requests_total", "Requests to the object store, by operation and outcome.")
        bytes_moved = counter("osqueue_store_bytes_total", "Bytes of bodies sent to or received from the object store.")
        in_flight = gauge("osqueue_store_requests_in_flight", "Requests that the object store has not answered yet.")
        durations = Family("osqueue_store_request_duration_seconds", "histogram", "How long the object store took.")
        for kind, usage in self.operations.items():
            for outcome, count in usage.outcomes.items():
                requests.add(count, operation=kind.value, outcome=outcome)
            bytes_moved.add(usage.bytes, operation=kind.value)
            in_flight.add(usage.in_flight, operation=kind.value)
            durations.samples += usage.durations.samples(operation=kind.value)
        cost = counter("osqueue_store_cost_total", "What the requests cost by the configured price table.")
        return [requests, bytes_moved, in_flight, durations, cost.add(self.cost, currency=self.prices.currency)]

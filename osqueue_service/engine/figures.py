"""The leader's own account of the recent past, for charts and rates.

One row per second for an hour, overall; and rates per type that fade with a minute. Nothing
here is durable: a new leader begins with an empty account.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from math import exp

from msgspec import Struct

from osqueue_service.engine.histogram import Histogram
from osqueue_service.engine.totals import Totals
from osqueue_service.state.model import Ending, Status
from osqueue_service.state.records import AnyRecord, AttemptsEnded, Claimed, Completed, Submitted
from osqueue_service.state.state import State

SECONDS_KEPT = 3_600
RATE_WINDOW_MS = 60_000
TYPES_KEPT = 10_000


class Second:
    """One second. `wait` is from submit to claim, `run` from claim to completion, `commit` from put to durable; depths
    are as of its last commit."""

    __slots__ = (
        "at",
        "claimed",
        "commit",
        "commit_bytes",
        "commits",
        "completed",
        "dead",
        "failed",
        "in_progress",
        "run",
        "scheduled",
        "storage_requests",
        "storage_requests_before",
        "submitted",
        "unclaimed",
        "wait",
    )

    def __init__(self, at: int, storage_requests_before: int) -> None:
        self.at = at
        self.storage_requests = 0
        self.storage_requests_before = storage_requests_before
        self.submitted = self.claimed = self.completed = self.failed = self.dead = 0
        self.commits = self.commit_bytes = 0
        self.unclaimed = self.scheduled = self.in_progress = 0
        self.wait, self.run, self.commit = Histogram(), Histogram(), Histogram()


class Rates(Struct):
    """Jobs per second, averaged over the last minute with the recent past weighing more."""

    at: int
    submitted: float = 0.0
    claimed: float = 0.0
    completed: float = 0.0
    failed: float = 0.0

    def fade(self, now_ms: int) -> None:
        """Let what was counted before weigh less."""
        left = exp(-max(0, now_ms - self.at) / RATE_WINDOW_MS)
        self.submitted *= left
        self.claimed *= left
        self.completed *= left
        self.failed *= left
        self.at = max(self.at, now_ms)


class Figures:
    """Counts what commits did. `storage_requests` tells how many requests the object store has had so far."""

    def __init__(self, storage_requests: Callable[[], int]) -> None:
        self._storage_requests = storage_requests
        self._seconds: deque[Second] = deque(maxlen=SECONDS_KEPT)
        self._types: OrderedDict[str, Rates] = OrderedDict()
        self._all = Rates(0)
        self.completed = 0
        """Jobs completed under this leader."""

    def history(self, since_ms: int = 0) -> Iterator[Second]:
        """The seconds since then, oldest first; a second without a commit is not there."""
        return (second for second in self._seconds if second.at >= since_ms)

    def rates(self, now_ms: int, type_name: str | None = None) -> Rates:
        """Jobs per second, of one type or of all."""
        rates = self._all if type_name is None else self._types.get(type_name, Rates(now_ms))
        rates.fade(now_ms)
        return rates

    def follow(self, state: State, record: AnyRecord, now_ms: int) -> None:
        """Count a record that was just applied."""
        second = self._second(now_ms)
        jobs = state.jobs
        if isinstance(record, Submitted):
            second.submitted += len(record.jobs)
            for rates, count in self._by_type([spec.type for spec in record.jobs], now_ms):
                rates.submitted += _PER_SECOND * count
            self._total(now_ms).submitted += _PER_SECOND * len(record.jobs)
        elif isinstance(record, Claimed):
            second.claimed += len(record.grants)
            claimed = [jobs[grant.number] for grant in record.grants]
            for job in claimed:
                second.wait.add(now_ms - job.ready_since)
            for rates, count in self._by_type([job.spec.type for job in claimed], now_ms):
                rates.claimed += _PER_SECOND * count
            self._total(now_ms).claimed += _PER_SECOND * len(record.grants)
        elif isinstance(record, Completed):
            second.completed += len(record.items)
            self.completed += len(record.items)
            completed = [jobs[item.number] for item in record.items]
            for job in completed:
                second.run.add(now_ms - job.history[-1].started_at)
            for rates, count in self._by_type([job.spec.type for job in completed], now_ms):
                rates.completed += _PER_SECOND * count
            self._total(now_ms).completed += _PER_SECOND * len(record.items)
        elif isinstance(record, AttemptsEnded):
            for end in record.items:
                if end.ending is not Ending.RELEASED:
                    second.failed += 1
                    self._of(jobs[end.number].spec.type, now_ms).failed += _PER_SECOND
                    self._total(now_ms).failed += _PER_SECOND
                second.dead += end.status is Status.DEAD

    def committed(self, totals: Totals, now_ms: int, took_ms: float, size: int) -> None:
        """A commit became durable."""
        second = self._second(now_ms)
        second.commits += 1
        second.commit.add(round(took_ms))
        second.commit_bytes += size
        second.storage_requests = self._storage_requests() - second.storage_requests_before
        second.unclaimed = totals.unclaimed
        second.scheduled = totals.scheduled
        second.in_progress = totals.in_progress

    def _second(self, now_ms: int) -> Second:
        at = now_ms - now_ms % 1_000
        if not self._seconds or self._seconds[-1].at < at:
            self._seconds.append(Second(at, self._storage_requests()))
        return self._seconds[-1]

    def _total(self, now_ms: int) -> Rates:
        if self._all.at != now_ms:
            self._all.fade(now_ms)
        return self._all

    def _by_type(self, names: list[str], now_ms: int) -> Iterator[tuple[Rates, int]]:
        """The rates of each type named, and how often it is: batches are mostly of one type."""
        return ((self._of(name, now_ms), count) for name, count in Counter(names).items())

    def _of(self, type_name: str, now_ms: int) -> Rates:
        rates = self._types.get(type_name)
        if rates is None:
            if len(self._types) >= TYPES_KEPT:
                self._types.popitem(last=False)
            rates = self._types[type_name] = Rates(now_ms)
        elif rates.at != now_ms:
            rates.fade(now_ms)
        return rates


# One job counted now, as a rate over the window.
_PER_SECOND = 1_000 / RATE_WINDOW_MS

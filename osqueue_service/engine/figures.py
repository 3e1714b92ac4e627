"""The leader's own account of the recent past, for charts and rates.

One row per second for an hour, overall; and rates per type that fade with a minute. Nothing
here is durable: a new leader begins with an empty account.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp

from msgspec import Struct

from osqueue_service.engine.totals import Totals
from osqueue_service.engine.type_tallies import TypeTallies
from osqueue_service.state.model import COMPLETED, DEAD, Job
from osqueue_service.state.moves import Cause, Moves

SECONDS_KEPT = 3_600
RATE_WINDOW_MS = 60_000
TYPES_KEPT = 10_000

_FAILURES = (Cause.FAILED, Cause.EXPIRED, Cause.TIMED_OUT)


class Histogram:
    """Counts of whole milliseconds in buckets a fifth of an octave wide or less: a percentile is within 25 %."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, ms: int) -> None:
        """Count one duration; a negative one (clocks were slewed) counts as 0."""
        self.add_all((ms,))

    def add_all(self, all_ms: Sequence[int]) -> None:
        """Count each of these. Jobs that came with one call mostly waited equally long, and are counted together."""
        buckets = self._buckets
        for ms, times in Counter(all_ms).items():
            if ms < 8:
                bucket = max(ms, 0)
            else:
                # The position of the leading bit and the two bits after it: four buckets per octave.
                octave = ms.bit_length()
                bucket = octave * 4 + (ms >> (octave - 3) & 3)
            buckets[bucket] = buckets.get(bucket, 0) + times
        self.count += len(all_ms)

    def merge(self, other: "Histogram") -> None:
        """Count all that the other counted, too."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count

    def percentile_ms(self, fraction: float) -> float:
        """The duration that this fraction stays below; 0 when nothing was counted."""
        left = fraction * self.count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return _middle(bucket)
        return 0.0


class Second:
    """One second. `wait` is from submit to claim, `run` from claim to completion, `commit` from put to durable; depths
    are as of its last commit."""

    __slots__ = (
        "at",
        "blocked",
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
        self.unclaimed = self.scheduled = self.in_progress = self.blocked = 0
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
    """Counts what commits did. `storage_requests` tells how many requests the object store has had so far; `tallies`
    keep what metrics show of each type."""

    def __init__(self, storage_requests: Callable[[], int], tallies: TypeTallies) -> None:
        self.tallies = tallies
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

    def follow(self, moves: Iterable[Moves], now_ms: int) -> None:
        """Count moves that were just made."""
        second = self._second(now_ms)
        for move in moves:
            if not move.jobs:
                continue
            times = _times_ms(move, now_ms)
            if move.claims:
                second.wait.add_all(times)
            elif move.target is COMPLETED:
                second.run.add_all(times)
            if move.target is DEAD:
                second.dead += len(move.jobs)
            counted = self._count(move, second, now_ms)
            for name, places in _by_type(move.jobs):
                count = len(places) if places is not None else len(move.jobs)
                if counted:
                    _add(self._of(name, now_ms), counted, count)
                own = times if places is None or not times else [times[place] for place in places]
                self.tallies.count(move, name, count, own, now_ms)

    def _count(self, move: Moves, second: Second, now_ms: int) -> str:
        """Count them overall; as which rate they count, "" for none."""
        count = len(move.jobs)
        if move.source is None:
            counted = "submitted"
            second.submitted += count
        elif move.claims:
            counted = "claimed"
            second.claimed += count
        elif move.target is COMPLETED:
            counted = "completed"
            second.completed += count
            self.completed += count
        elif move.cause in _FAILURES:
            counted = "failed"
            second.failed += count
        else:
            return ""
        _add(self._total(now_ms), counted, count)
        return counted

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
        second.blocked = totals.blocked

    def _second(self, now_ms: int) -> Second:
        at = now_ms - now_ms % 1_000
        if not self._seconds or self._seconds[-1].at < at:
            self._seconds.append(Second(at, self._storage_requests()))
        return self._seconds[-1]

    def _total(self, now_ms: int) -> Rates:
        if self._all.at != now_ms:
            self._all.fade(now_ms)
        return self._all

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


def _times_ms(move: Moves, now_ms: int) -> list[int]:
    """How long each job had waited when it was claimed, or how long its attempt took that has ended."""
    if move.claims:
        return [now_ms - job.ready_since for job in move.jobs]
    if move.frees:
        # A job that was removed keeps its lease; of any other the last attempt says when it began.
        return [now_ms - (job.lease or job.history[-1]).started_at for job in move.jobs]
    return []


def _by_type(jobs: list[Job]) -> Iterable[tuple[str, list[int] | None]]:
    """The types among the jobs, with the places of their jobs; None: all, as it mostly is."""
    names = [job.spec.type for job in jobs]
    if names.count(names[0]) == len(names):
        return ((names[0], None),)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return places.items()


def _add(rates: Rates, counted: str, count: int) -> None:
    setattr(rates, counted, getattr(rates, counted) + _PER_SECOND * count)


def _middle(bucket: int) -> float:
    if bucket < 8:
        return float(bucket)
    octave, quarter = divmod(bucket, 4)
    return (4 + quarter + 0.5) * 2.0 ** (octave - 3)

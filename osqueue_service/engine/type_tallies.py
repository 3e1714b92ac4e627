"""What became of the jobs of each type since this leader began, for metrics.

Callers choose types, so only those up to a limit have figures of their own; what happens to the rest is counted
together. A type that has no jobs and has rested for an hour makes room for one that comes.
"""

from collections import Counter, OrderedDict
from collections.abc import Container, Iterator, Sequence

from osqueue_service.metrics import Durations
from osqueue_service.state.model import DEAD
from osqueue_service.state.moves import Moves

OTHERS = "(other)"
"""The name under which the types without figures of their own are shown: no new type may be called that."""

TYPE_IDLE_MS = 3_600_000

JOB_BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0)
"""Upper bounds of the buckets for how long jobs wait and run: from a claim that waits already to a day."""

OUTCOMES = ("completed", "failed", "expired", "timed_out", "released", "cancelled", "purged")
"""How attempts end: the names of `Cause` in small letters."""


class TypeTally:
    """The figures of one type. `wait` is from ready to claim, `run` from claim to the attempt's end, however it ended;
    `attempts` counts ended ones by outcome, `moved_at` is when the last of all this was counted (ms)."""

    __slots__ = ("attempts", "claimed", "died", "moved_at", "run", "submitted", "wait")

    def __init__(self) -> None:
        self.moved_at = 0
        self.submitted = self.claimed = self.died = 0
        self.attempts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.wait, self.run = Durations(JOB_BOUNDS_S), Durations(JOB_BOUNDS_S)

    def merge(self, other: "TypeTally") -> None:
        """Count all that the other counted, too."""
        self.submitted += other.submitted
        self.claimed += other.claimed
        self.died += other.died
        self.attempts.update(other.attempts)
        self.wait.merge(other.wait)
        self.run.merge(other.run)


class TypeTallies:
    """Of at most `limit` types, and of all others together. `alive` are the types that have jobs."""

    def __init__(self, limit: int, alive: Container[str]) -> None:
        self.others = TypeTally()
        self._limit = limit
        self._alive = alive
        self._tallies: OrderedDict[str, TypeTally] = OrderedDict()
        """The one counted longest ago first."""

    def __iter__(self) -> Iterator[tuple[str, TypeTally]]:
        """By the names of the types."""
        return iter(sorted(self._tallies.items()))

    def know(self, type_name: str, now_ms: int) -> TypeTally:
        """The tally that jobs of this type count in from now on."""
        tally = self._tallies.get(type_name)
        if tally is None:
            if type_name == OTHERS or (len(self._tallies) >= self._limit and not self._made_room(now_ms)):
                return self.others
            tally = self._tallies[type_name] = TypeTally()
        elif tally.moved_at != now_ms:
            self._tallies.move_to_end(type_name)
        tally.moved_at = now_ms
        return tally

    def count(self, move: Moves, type_name: str, count: int, times_ms: Sequence[int], now_ms: int) -> None:
        """Count that `count` jobs of the type moved this way. `times_ms`: how long each waited if they were claimed,
        how long its attempt took if it ended."""
        tally = self.know(type_name, now_ms)
        if move.source is None:
            tally.submitted += count
        elif move.claims:
            tally.claimed += count
            tally.wait.observe_ms(times_ms)
        elif move.frees:
            tally.attempts[move.cause.name.lower()] += count
            tally.run.observe_ms(times_ms)
        if move.target is DEAD:
            tally.died += count

    def _made_room(self, now_ms: int) -> bool:
        """Let the type go that was counted longest ago, unless it has jobs or that was lately."""
        if not self._tallies:
            return False
        name, oldest = next(iter(self._tallies.items()))
        if now_ms - oldest.moved_at < TYPE_IDLE_MS:
            return False
        if name in self._alive:
            # It has its turn again later: the next that comes looks at another.
            oldest.moved_at = now_ms
            self._tallies.move_to_end(name)
            return False
        self.others.merge(self._tallies.pop(name))
        return True

"""Fair turns between fairness keys: the jobs of one priority are claimed in turns of their keys, not of their places.

Start-time fair queueing: each key has had a number of *turns* at a priority, and the one with the fewest is served
next; a turn counts as much less as the key's weight is higher. The *clock* of a priority is the turns of the key that
was served last. A key that comes back, from nothing to do or from limits, has had at least as many turns as the clock
says: it gains nothing by having waited for nothing, and loses nothing either.

Turns belong to a priority and a key, whatever the types and limits of its jobs. They are stored nowhere: after a
takeover all keys begin anew. Turns only rise, and so whoever files a line by them may do so late.

A *level* is what is known of a priority while jobs with keys wait there, those without one being a key, too: "". A
queue that uses no keys has no levels.
"""

from collections.abc import Iterator
from heapq import heappop, heappush, nlargest
from itertools import islice

from msgspec import Struct
from sortedcontainers import SortedList

TURN = 1_000_000_000
"""What one turn of weight 1,000 (one, in thousandths) counts, times 1,000."""
DEFAULT_WEIGHT = 1_000
"""Weights are stored in thousandths."""
LEVEL_BITS = 96
"""Turns stand below these bits, priorities above."""
_MANY = 16
"""Keys with at least this many waiting jobs are listed by how many there are."""
_LOOKED_AT = 1_000


class Weight(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The weight of a key, in thousandths, as an image holds it."""

    key: str
    weight: int


def level_of(priority: int) -> int:
    """What orders priorities, the highest first, with room for turns: 0 for the priority 0."""
    return -priority << LEVEL_BITS


class Share:
    """One key at one priority: the turns it has had, and how many of its jobs wait."""

    __slots__ = ("key", "level", "turns", "waiting")

    def __init__(self, level: "Level", key: str) -> None:
        self.level = level
        self.key = key
        self.turns = level.clock
        self.waiting = 0

    def arm(self) -> None:
        """It has a job to claim where it had none: it does not make up for that time."""
        self.turns = max(self.turns, self.level.clock)


class Level:
    """The keys of one priority."""

    __slots__ = ("clock", "idle", "order", "shares", "waiting")

    def __init__(self, order: int) -> None:
        self.order = order
        self.clock = 0
        self.shares: dict[str, Share] = {}
        self.waiting = 0
        # Shares of which no job waits and that have had more turns than the clock says, by when it does.
        self.idle: list[tuple[int, str]] = []

    def share(self, key: str) -> Share:
        """The share of the key, which is kept as long as it says anything."""
        found = self.shares.get(key)
        if found is None:
            found = self.shares[key] = Share(self, key)
        return found

    def served(self, share: Share, turn: int) -> None:
        """A job of the share was claimed."""
        if share.turns > self.clock:
            self.clock = share.turns
            while self.idle and self.idle[0][0] <= self.clock:
                turns, key = heappop(self.idle)
                one = self.shares.get(key)
                if one is not None and not one.waiting and one.turns == turns:
                    del self.shares[key]
        share.turns += turn

    def left(self, share: Share) -> None:
        """No job of the share waits any more."""
        if share.turns > self.clock:
            heappush(self.idle, (share.turns, share.key))
        else:
            del self.shares[share.key]


class FairKey:
    """One key as it is shown: its jobs that wait to be claimed, those that run, and how many were claimed while any
    did."""

    __slots__ = ("claimed", "key", "running", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting = 0
        self.running = 0
        self.claimed = 0


class Fairness:
    """All keys of one queue, their weights and their turns."""

    def __init__(self) -> None:
        self.levels: dict[int, Level] = {}
        self.weights: dict[str, int] = {}
        """In thousandths, of the keys that have another than the default."""
        self.keys: dict[str, FairKey] = {}
        self.waiting = 0
        """Jobs with a key that wait."""
        self.running = 0
        """Jobs with a key that run."""
        self._by_name: SortedList[str] = SortedList()
        self._many: dict[int, dict[str, FairKey]] = {}

    # --- turns -------------------------------------------------------------------------------------------------------

    def turn(self, key: str) -> int:
        """What one claimed job of the key counts."""
        return TURN // self.weights.get(key, DEFAULT_WEIGHT)

    def served(self, share: Share) -> None:
        """A job of this share was claimed, and is about to leave its line."""
        share.level.served(share, self.turn(share.key))

    def waits(self, share: Share) -> None:
        """One more job of the share waits."""
        share.waiting += 1
        share.level.waiting += 1

    def left(self, share: Share) -> None:
        """One job of the share waits no longer."""
        level = share.level
        share.waiting -= 1
        level.waiting -= 1
        if not level.waiting:
            del self.levels[level.order]
        elif not share.waiting:
            level.left(share)

    # --- weights and figures -----------------------------------------------------------------------------------------

    def weigh(self, key: str, weight: int) -> None:
        """The key's weight from now on, in thousandths."""
        if key not in self.weights and key not in self.keys:
            self._by_name.add(key)
        if weight == DEFAULT_WEIGHT:
            self.weights.pop(key, None)
        else:
            self.weights[key] = weight
        if key not in self.weights and key not in self.keys:
            self._by_name.remove(key)

    def stored(self) -> list[Weight]:
        """The weights that are not the default, by key."""
        return [Weight(key, weight) for key, weight in sorted(self.weights.items())]

    def count(self, key: str, waiting: int, running: int) -> None:
        """This many more jobs of the key wait, and run."""
        row = self.keys.get(key)
        if row is None:
            row = self.keys[key] = FairKey(key)
            if key not in self.weights:
                self._by_name.add(key)
        before = row.waiting
        row.waiting += waiting
        row.running += running
        self.waiting += waiting
        self.running += running
        if running > 0:
            row.claimed += running
        if before >= _MANY or row.waiting >= _MANY:
            self._list(row, before)
        if not row.waiting and not row.running:
            del self.keys[key]
            if key not in self.weights:
                self._by_name.remove(key)

    def names(self, after: str | None) -> Iterator[str]:
        """The keys that have jobs or a weight, in order, from behind this one on."""
        return self._by_name.irange(after, inclusive=(False, False)) if after is not None else iter(self._by_name)

    def largest(self, most: int) -> list[FairKey]:
        """The keys with the most waiting jobs. Among thousands with about as many it is some of them: what this costs
        does not depend on how many there are."""
        found: list[FairKey] = []
        for size in sorted(self._many, reverse=True):
            found += nlargest(most, islice(self._many[size].values(), _LOOKED_AT), key=lambda row: row.waiting)
            if len(found) >= most:
                return found[:most]
        listed = {row.key for row in found}
        few = [row for row in islice(self.keys.values(), _LOOKED_AT) if row.key not in listed]
        return found + nlargest(most - len(found), few, key=lambda row: row.waiting)

    def _list(self, row: FairKey, before: int) -> None:
        """File a key by about how many of its jobs wait; `before` is how many did."""
        old, new = before.bit_length(), row.waiting.bit_length()
        if old == new and before >= _MANY <= row.waiting:
            return
        if before >= _MANY:
            listed = self._many[old]
            del listed[row.key]
            if not listed:
                del self._many[old]
        if row.waiting >= _MANY:
            self._many.setdefault(new, {})[row.key] = row

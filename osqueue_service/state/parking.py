"""Lines whose first job has no room under a limit, each waiting for the one key that was found without.

A key that may have more room than before is *stirred*. Before the order of claims is looked at again, each stirred key
wakes as many of the lines that wait for it as its room is for, the first in order of each type, and no more: each time
a line is parked anew was paid for by its waking. A woken line holds a *promise* of that room until its first job
changes or it is parked again, perhaps at another key; then the promise is withdrawn and the key is stirred, so a waking
is never lost. Promises count by type: workers of one type may never come, and shall not keep the room from another.

Nothing here is stored, and none of it decides who may start: that is asked of the keys, whenever a claim is decided.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from osqueue_service.state.limit_table import FULL, OPEN, LimitKey
from osqueue_service.state.line import BoundLine, Filed
from osqueue_service.state.order import Order, replaced


class Parking:
    """The parked lines. `wake` makes one ready again, unless something else shuts it; it says whether it did."""

    def __init__(self, wake: Callable[[BoundLine], bool]) -> None:
        self._wake = wake
        self._stirred: dict[LimitKey, None] = {}
        self._timers: list[tuple[int, int, LimitKey]] = []
        self._timers_set = 0
        self.now_ms = 0
        """The latest moment that was told: rates have room by this."""

    def advance(self, now_ms: int) -> None:
        """It is this late: keys whose time has come are stirred."""
        if now_ms > self.now_ms:
            self.now_ms = now_ms
        timers = self._timers
        while timers and timers[0][0] <= self.now_ms:
            at_ms, _, key = heappop(timers)
            if key.filed_ms == at_ms:
                key.filed_ms = 0
                self.stir(key)

    def next_ms(self) -> int | None:
        """When a parked line may be able to start though nothing else happens."""
        timers = self._timers
        while timers:
            at_ms, _, key = timers[0]
            if key.filed_ms == at_ms and key.waiters:
                return at_ms
            heappop(timers)
            if key.filed_ms == at_ms:
                key.filed_ms = 0
        return None

    def stir(self, key: LimitKey) -> None:
        """The key may have more room than before."""
        if key.waiters:
            self._stirred[key] = None

    def is_stirred(self, key: LimitKey) -> bool:
        """Whether who waits for the key is to be looked at before the next claim."""
        return key in self._stirred

    def blocking(self, line: BoundLine) -> tuple[LimitKey, int] | None:
        """The first of the line's keys that has no room for its first job, and when it has: a moment, or FULL."""
        job = line.first_job
        for key, use in zip(line.keys, job.spec.limits, strict=True):
            opens = key.opens(use.cost, self.now_ms)
            if opens != OPEN:
                return key, opens
            if key.waiters and line.type in key.waiters and self.first_waiting(key, line.type)[:2] < line.order:
                return key, FULL  # the room is for the one ahead, which takes more of it
        return None

    def park(self, line: BoundLine, key: LimitKey, opens: int) -> None:
        """The line waits for this key, which opens then. Its head is in order already, or comes by `moved`."""
        self.withdraw(line)
        line.parked = key
        if line.head is not None:
            self.moved(line)
        if opens != FULL:
            self._file(key, opens)

    def first_waiting(self, key: LimitKey, name: str) -> Filed:
        """The first of this type that waits for the key, by the turns of today: those that it was filed by may be
        fewer."""
        assert key.waiters is not None
        while True:
            entries: Order[Filed] = key.waiters[name]
            head: Filed = entries[0]
            line = head[2]
            rank = line.rank
            if rank == head[0]:
                return head
            line.filed = rank, head[1], line
            key.waiters[name] = replaced(entries, head, line.filed)

    def moved(self, line: BoundLine) -> None:
        """Another job is the first of a parked line, or none is left: it may have room where the one before had
        none."""
        key = line.parked
        assert key is not None
        if key.waiters is None:
            key.waiters = {}
            key.family.parked += 1
        old, line.filed = line.filed, (line.rank, line.head[1], line) if line.head is not None else None
        self._refile(key, line, old)
        if old is not None:
            self.stir(key)

    def leave(self, line: BoundLine) -> None:
        """The line waits for its key no longer."""
        key, line.parked = line.parked, None
        old, line.filed = line.filed, None
        assert key is not None and old is not None
        self._refile(key, line, old)

    def _refile(self, key: LimitKey, line: BoundLine, old: Filed | None) -> None:
        assert key.waiters is not None
        entries = replaced(key.waiters.get(line.type, []), old, line.filed)
        if entries:
            key.waiters[line.type] = entries
            return
        key.waiters.pop(line.type, None)
        if not key.waiters:
            key.waiters = None
            key.family.parked -= 1

    def withdraw(self, line: BoundLine) -> None:
        """A woken line needs its promise no longer."""
        promise = line.promise
        if promise is not None:
            line.promise = None
            key, cost = promise
            assert key.promised is not None
            left = key.promised[line.type] - cost
            if left:
                key.promised[line.type] = left
            else:
                del key.promised[line.type]
            self.stir(key)

    def settle(self) -> bool:
        """Wake what stirred keys have room for; whether anything woke."""
        woke = False
        while self._stirred:
            key, _ = self._stirred.popitem()
            for name in list(key.waiters or ()):
                woke = self._wake_some(key, name) or woke
        return woke

    def _wake_some(self, key: LimitKey, name: str) -> bool:
        """Wake the first lines of this type as far as the key's room goes."""
        woke = False
        while key.waiters is not None and name in key.waiters:
            line = self.first_waiting(key, name)[2]
            assert type(line) is BoundLine
            cost = line.cost_at(key)
            promised = (key.promised or {}).get(name, 0)
            opens = key.opens(cost, self.now_ms, promised, key.paid_after(promised, self.now_ms) if promised else 0)
            if opens != OPEN:
                if opens != FULL:
                    self._file(key, opens)
                break
            if not self._wake(line):
                break
            if key.promised is None:
                key.promised = {}
            key.promised[name] = promised + cost
            line.promise = key, cost
            woke = True
        return woke

    def _file(self, key: LimitKey, at_ms: int) -> None:
        if not key.filed_ms or at_ms < key.filed_ms:
            key.filed_ms = at_ms
            self._timers_set += 1
            heappush(self._timers, (at_ms, self._timers_set, key))

"""Which job is claimed next: higher priority first, then the fairness key whose turn it is, then first in first out.

A *line* holds the waiting jobs that nothing tells apart but their place: those of one type,
one priority, one fairness key and one tuple of limit keys. While it has jobs it is either
*ready* or *shut* by exactly one gate.

A line under limits whose first job has no room is shut, too, and waits for the key without (`parking.py`). That it has
none is noticed when it appears, or when a claim gets to it: until then it is among the ready ones, and `Turns` decides.

The order is a tree. Each type keeps the heads of its ready lines in order, those under limits bundled, and `_ready` the
first head of each type: a claim for any type does not look at every type, a claim for several
looks only at those, and what is shut is in neither. Only a line whose first job changes
moves; and, late, the lines of a fairness key that has had its turn (`walk.py`).
"""

from collections.abc import Iterable, Iterator

from osqueue_service.state.fairness import LEVEL_BITS, Fairness, Level, Share, level_of
from osqueue_service.state.gates import LIMITED, Gate, Gates
from osqueue_service.state.limit_table import LimitTable
from osqueue_service.state.line import AGE_SCAN_MAX, BoundLine, Bundle, Head, Key, Kind, Line, LineHead, Unit
from osqueue_service.state.model import Job
from osqueue_service.state.order import Order, replaced
from osqueue_service.state.parking import Parking
from osqueue_service.state.walk import Walk, jobs_of, merged

__all__ = ["AGE_SCAN_MAX", "Line", "Lines"]


class Lines:
    """All waiting jobs in the order in which they will be claimed."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.parking = Parking(self._wake)
        self.limits = LimitTable(self.parking.stir)
        self.fairness = Fairness()
        self._kinds: dict[str, Kind] = {}
        self._ready: Order[Head] = []
        self._opened: set[str] = set()
        self.bound = 0
        """How many lines are under limits."""
        self.ready = 0
        """How many jobs wait in ready lines."""
        self.parked = 0
        """How many jobs wait in lines that are parked."""

    def add(self, job: Job) -> None:
        """The job waits from now on, at its `place`."""
        spec = job.spec
        kind = self._kinds.get(spec.type)
        if kind is None:
            kind = self._kinds[spec.type] = Kind(spec.type)
        key = _key(job)
        line = kind.lines.get(key)
        if line is None:
            line = kind.lines[key] = self._begin(kind, key, job)
            node = job.ready_node = line.add(job.place, job)
            if type(line) is BoundLine and line.gate is None and (found := self.parking.blocking(line)) is not None:
                line.gate = LIMITED
                self.parking.park(line, *found)
        else:
            node = job.ready_node = line.add(job.place, job)
        if type(line) is BoundLine:
            line.bundle.count += 1
            if line.bundle.share is not None:
                self.fairness.waits(line.bundle.share)
        elif line.share is not None:
            self.fairness.waits(line.share)
        if line.gate is None:
            kind.ready += 1
            self.ready += 1
        elif line.gate is LIMITED:
            kind.parked += 1
            self.parked += 1
        if line.first is node:
            self._move_head(line)

    def remove(self, job: Job) -> None:
        """The job no longer waits."""
        kind = self._kinds[job.spec.type]
        line = kind.lines[_key(job)]
        node = job.ready_node
        assert node is not None, "the job is not waiting"
        was_first = line.first is node
        line.remove(node)
        job.ready_node = None
        if line.gate is None:
            kind.ready -= 1
            self.ready -= 1
        elif line.gate is LIMITED:
            kind.parked -= 1
            self.parked -= 1
        if was_first:
            self._move_head(line)
            if not line.count:
                self._end(kind, line)
        share = line.share
        if type(line) is BoundLine:
            share = line.bundle.share
            line.bundle.count -= 1
            if not line.bundle.count:
                del kind.bundles[line.key[:2]]
        if share is not None:
            self.fairness.left(share)

    def serve(self, job: Job) -> None:
        """The job is claimed, and about to be removed: a turn of its key."""
        share = self.share_of(job)
        if share is not None:
            self.fairness.served(share)

    def share_of(self, job: Job) -> Share | None:
        """The turns of a waiting job's key, where keys are in use at its priority."""
        level = self.fairness.levels.get(level_of(job.spec.priority))
        return level.shares[job.spec.fairness_key] if level is not None else None

    def in_order(self, types: Iterable[str] = ()) -> Iterator[Job]:
        """The jobs of these types (none given: of all) in ready lines, as they would be claimed but for limits. Nothing
        may change meanwhile. The first k jobs cost O(k log k), whatever else waits or is shut."""
        if self.bound or self.fairness.levels:
            return Walk(self, types).jobs()
        heads = self.first_heads(types)
        if len(heads) == 1:
            return jobs_of(heads[0][2].kind)
        return merged(heads, lambda head: jobs_of(head[2].kind))

    def first_heads(self, types: Iterable[str] = ()) -> "Order[Head]":
        """The first head of each of these types (none given: of all), in order."""
        if not types:
            return self._ready
        return sorted(kind.heads[0] for name in set(types) if (kind := self._kinds.get(name)) and kind.heads)

    def bound_among(self, types: Iterable[str] = ()) -> bool:
        """Whether any line of these types (none given: of all) is under limits."""
        if not self.bound or not types:
            return self.bound > 0
        return any(kind.bound for name in types if (kind := self._kinds.get(name)))

    def advance(self, now_ms: int) -> None:
        """It is this late: what has room by now is ready."""
        if self.bound:
            self.parking.advance(now_ms)
            self.parking.settle()

    def at_most(self, types: Iterable[str] = ()) -> int:
        """No claim of these types (none given: of all) could get more jobs than this."""
        if not types:
            return self.ready + self.parked
        return sum(kind.ready + kind.parked for name in types if (kind := self._kinds.get(name)))

    def park(self, line: BoundLine) -> bool:
        """Park a ready line whose first job has no room; whether it had none."""
        found = self.parking.blocking(line)
        if found is None:
            return False
        self._count_ready(line, -1)
        self._count_parked(line, 1)
        line.gate = LIMITED
        self._file(line, line.head, None)
        self.parking.park(line, *found)
        return True

    def refresh(self, unit: Unit) -> None:
        """Put a unit where the turns of its key belong by now."""
        old = unit.head
        if old is not None and old[0] != unit.rank:
            unit.head = unit.rank, old[1], unit
            self._reorder(unit.kind, old, unit.head)

    def has(self, types: Iterable[str] = ()) -> bool:
        """Whether a claim for these types (none given: for any) would find a job."""
        if self.bound and self.bound_among(types):
            return self._has_room(types)
        if not types:
            return bool(self._ready)
        return any(self.count(name) for name in types)

    def _has_room(self, types: Iterable[str]) -> bool:
        """The same where lines are under limits: those at the front that have no room are parked."""
        while True:
            self.parking.settle()
            heads = self.first_heads(types)
            if not heads:
                return False
            unit = heads[0][2]
            if type(unit) is not Bundle:
                return True
            line = unit.heads[0][2]
            assert type(line) is BoundLine
            if not self.park(line):
                return True

    def count(self, type_name: str) -> int:
        """How many jobs of the type wait in ready lines."""
        kind = self._kinds.get(type_name)
        return kind.ready if kind else 0

    def take_opened(self) -> set[str]:
        """The types of which a job can be claimed now, and could not when this was last asked, or at some moment
        since."""
        if self.bound:
            self.parking.settle()
        opened, self._opened = self._opened, set()
        return opened

    def gate_of(self, job: Job) -> Gate | None:
        """What shuts the line in which the job waits, or would if it waited now, apart from limits: these are asked."""
        return self.gates.shutting(job.spec.type)

    def of_type(self, type_name: str) -> Iterator[Job]:
        """The waiting jobs of one type, ready or shut, in the order of priorities and places."""
        heads = [(line.key[0], line.first.key, line) for line in self.lines_of(type_name) if line.first]
        return merged(sorted(heads), lambda head: iter(head[2]))

    def lines_of(self, type_name: str) -> Iterator[Line]:
        """The lines of one type, ready or shut, in no order."""
        kind = self._kinds.get(type_name)
        return iter(kind.lines.values() if kind else ())

    def __iter__(self) -> Iterator[Line]:
        """All lines, ready or shut, in no order."""
        return (line for kind in self._kinds.values() for line in kind.lines.values())

    def pause(self, type_name: str) -> None:
        """Hand out no jobs of this type."""
        self.gates.pause(type_name)
        self._ask_gates(type_name)

    def resume(self, type_name: str) -> None:
        """Hand out jobs of this type again."""
        self.gates.resume(type_name)
        self._ask_gates(type_name)

    def _ask_gates(self, type_name: str) -> None:
        """A gate to the lines of this type has opened or shut: these move, and no others."""
        gate = self.gates.shutting(type_name)
        for line in self.lines_of(type_name):
            if line.gate is LIMITED:
                assert type(line) is BoundLine and line.parked is not None
                if gate is None:
                    self.parking.stir(line.parked)
                continue
            was_ready, line.gate = line.gate is None, gate
            if was_ready and gate is not None:
                self._count_ready(line, -1)
                self._file(line, line.head, None)
            elif not was_ready and gate is None:
                self._count_ready(line, 1)
                self._file(line, None, line.head)

    def _begin(self, kind: Kind, key: Key, job: Job) -> Line:
        """A line with no job yet."""
        gate = self.gates.shutting(kind.name)
        share = self._share(key) if key[1] or self.fairness.levels else None
        if not key[2]:
            line = Line(kind, key, gate)
            line.share = share
            return line
        kind.bound += 1
        self.bound += 1
        bundle = kind.bundles.get(key[:2])
        if bundle is None:
            bundle = kind.bundles[key[:2]] = Bundle(kind, (key[0], key[1], ()))
            bundle.share = share
        return BoundLine(kind, key, gate, tuple(map(self.limits.of, job.spec.limits)), bundle)

    def _end(self, kind: Kind, line: Line) -> None:
        """A line has no job any more."""
        del kind.lines[line.key]
        if type(line) is BoundLine:
            kind.bound -= 1
            self.bound -= 1
        if not kind.lines:
            del self._kinds[kind.name]

    def _share(self, key: Key) -> Share | None:
        """The share of a line that begins, if keys are in use at its priority from now on."""
        level = self.fairness.levels.get(key[0])
        if level is None and key[1]:
            level = self._begin_level(key[0])
        return level.share(key[1]) if level is not None else None

    def _begin_level(self, order: int) -> Level:
        """The first job with a key waits at this priority: those without one have turns, too, from now on."""
        level = self.fairness.levels[order] = Level(order)
        for kind in self._kinds.values():
            line, bundle = kind.lines.get((order, "", ())), kind.bundles.get((order, ""))
            for unit in (line, bundle):
                if unit is not None and unit.count:
                    unit.share = level.share("")
                    unit.share.waiting += unit.count
                    level.waiting += unit.count
        return level

    def _wake(self, line: BoundLine) -> bool:
        """A parked line is ready, unless its type is paused: then it stays where it is."""
        if self.gates.shutting(line.type) is not None:
            return False
        self.parking.leave(line)
        line.gate = None
        self._count_parked(line, -1)
        self._count_ready(line, 1)
        self._file(line, None, line.head)
        return True

    def _count_ready(self, line: Line, sign: int) -> None:
        line.kind.ready += sign * line.count
        self.ready += sign * line.count

    def _count_parked(self, line: Line, sign: int) -> None:
        line.kind.parked += sign * line.count
        self.parked += sign * line.count

    def _move_head(self, line: Line) -> None:
        """Another job is the first of this line, or none is left."""
        first, old = line.first, line.head
        # A shut line keeps its head up to date, too, so that it can be put in order when its gate opens.
        new = line.head = (line.key[0], first.key, line) if first is not None else None
        if type(line) is BoundLine:
            if line.gate is None:
                self._file(line, old, new)
            if line.gate is LIMITED:
                self.parking.moved(line)
            else:
                self.parking.withdraw(line)
        elif line.gate is None:
            if line.share is None:
                self._reorder(line.kind, old, new)
            else:
                self._file(line, old, new)

    def _file(self, line: Line, old: LineHead | None, new: LineHead | None) -> None:
        """A ready line has another head (`old` or `new` None: it was, or is, not ready)."""
        if type(line) is BoundLine:
            bundle = line.bundle
            bundle.heads = replaced(bundle.heads, old, new)
            was = bundle.head
            if was is None and bundle.share is not None:
                bundle.share.arm()
            bundle.head = (bundle.rank, bundle.heads[0][1], bundle) if bundle.heads else None
            if bundle.head != was:
                self._reorder(bundle.kind, was, bundle.head)
            return
        if new is not None and line.share is not None:
            if old is None:
                line.share.arm()
            new = line.head = line.rank, new[1], line
        self._reorder(line.kind, old, new)

    def _reorder(self, kind: Kind, old: Head | None, new: Head | None) -> None:
        """Put one head of a type in the place of another, and the type where its first head now belongs."""
        heads = kind.heads
        was = heads[0] if heads else None
        heads = kind.heads = replaced(heads, old, new)
        first = heads[0] if heads else None
        if first is was:
            return
        self._ready = replaced(self._ready, was, first)
        if was is None:
            self._opened.add(kind.name)
        elif first is None:
            # Only what is open still is kept, so that this is never longer than the list of types that wait,
            # though nobody may ask for years.
            self._opened.discard(kind.name)


def _key(job: Job) -> Key:
    spec = job.spec
    level = -spec.priority << LEVEL_BITS if spec.priority else 0
    more = spec.more
    if more is None:
        return level, "", ()
    if not more.limits:
        return level, more.fairness_key, ()
    return level, more.fairness_key, tuple([(use.limit, use.key) for use in more.limits])

"""Which job is claimed next: higher priority first, first in first out within one.

A *line* holds the waiting jobs that nothing tells apart but their place: those of one type,
one priority, one fairness key and one tuple of limit keys. While it has jobs it is either
*ready* or *shut* by exactly one gate.

The order is a tree. Each type keeps the heads of its ready lines in order, and `_ready` the
first head of each type: a claim for any type does not look at every type, a claim for several
looks only at those, and what is shut is in neither. Only a line whose first job changes
moves.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import islice

from osqueue_service.state.gates import Gate, Gates
from osqueue_service.state.index import Index
from osqueue_service.state.model import UNCLAIMED, Job

Key = tuple[int, str, tuple[str, ...]]
"""What tells the lines of one type apart: -priority, fairness key, limit keys. A job asks for neither of the last two
yet; the property that brings one is read in `_key` and gives rows, not another structure."""

AGE_SCAN_MAX = 100
"""Jobs at the front of a line that are asked since when they wait."""


class Line(Index):
    """The waiting jobs of one line, in the order of their places."""

    __slots__ = ("gate", "head", "key", "kind")

    def __init__(self, kind: "_Kind", key: Key, gate: Gate | None) -> None:
        super().__init__()
        self.kind = kind
        self.key = key
        self.gate = gate
        """What shuts it; None while it is ready."""
        self.head: _Head | None = None

    @property
    def type(self) -> str:
        return self.kind.name

    @property
    def ready_since(self) -> int:
        """Since when the job of it waits that has waited longest (ms).

        A job that came back from a worker stands at its old place but waits anew, so the first in line need not be
        the one. All others took their place when they began to wait: behind the first of those nobody has waited
        longer. Of more than `AGE_SCAN_MAX` that came back, what these say is the answer: the true age is at least that.
        """
        since = 0
        for job in islice(self, AGE_SCAN_MAX):
            if not since or job.ready_since < since:
                since = job.ready_since
            if not job.history or job.history[-1].became is not UNCLAIMED:
                break
        return since


_Head = tuple[int, int, Line]
# (-priority, place, line): ascending order is the order of claims. No two places are the same, so that the lines
# themselves are never compared.


class _Kind:
    """The lines of one type. `heads` are those of its ready lines in order, `ready` is how many jobs wait in these."""

    __slots__ = ("heads", "lines", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Key, Line] = {}
        self.heads: list[_Head] = []
        self.ready = 0

    def jobs(self) -> Iterator[Job]:
        """The jobs of its ready lines in the order of claims."""
        heads = self.heads
        return iter(heads[0][2]) if len(heads) == 1 else _merged(heads, iter)


class Lines:
    """All waiting jobs in the order in which they will be claimed."""

    def __init__(self) -> None:
        self.gates = Gates()
        self._kinds: dict[str, _Kind] = {}
        self._ready: list[_Head] = []
        self._opened: set[str] = set()
        self.ready = 0
        """How many jobs wait in ready lines."""

    def add(self, job: Job) -> None:
        """The job waits from now on, at its `place`."""
        spec = job.spec
        kind = self._kinds.get(spec.type)
        if kind is None:
            kind = self._kinds[spec.type] = _Kind(spec.type)
        key = _key(job)
        line = kind.lines.get(key)
        if line is None:
            line = kind.lines[key] = Line(kind, key, self.gates.shutting(spec.type))
        node = job.ready_node = line.add(job.place, job)
        if line.gate is None:
            kind.ready += 1
            self.ready += 1
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
        if was_first:
            self._move_head(line)
            if not line.count:
                del kind.lines[line.key]
                if not kind.lines:
                    del self._kinds[kind.name]

    def in_order(self, types: Iterable[str] = ()) -> Iterator[Job]:
        """The jobs of these types (none given: of all) that can be claimed, as they would be. Nothing may change
        meanwhile. The first k jobs cost O(k log k), whatever else waits or is shut."""
        heads = self._ready
        if types:
            heads = sorted(kind.heads[0] for name in set(types) if (kind := self._kinds.get(name)) and kind.heads)
        if len(heads) == 1:
            return heads[0][2].kind.jobs()
        return _merged(heads, lambda line: line.kind.jobs())

    def has(self, types: Iterable[str] = ()) -> bool:
        """Whether a claim for these types (none given: for any) would find a job."""
        if not types:
            return bool(self._ready)
        return any(self.count(name) for name in types)

    def count(self, type_name: str) -> int:
        """How many jobs of the type a claim could find."""
        kind = self._kinds.get(type_name)
        return kind.ready if kind else 0

    def take_opened(self) -> set[str]:
        """The types of which a job can be claimed now, and could not when this was last asked, or at some moment
        since."""
        opened, self._opened = self._opened, set()
        return opened

    def gate_of(self, job: Job) -> Gate | None:
        """What shuts the line in which the job waits, or would if it waited now."""
        kind = self._kinds.get(job.spec.type)
        line = kind.lines.get(_key(job)) if kind else None
        return line.gate if line is not None else self.gates.shutting(job.spec.type)

    def of_type(self, type_name: str) -> Iterator[Job]:
        """The waiting jobs of one type, ready or shut, in the order of claims."""
        return _merged(sorted(line.head for line in self.lines_of(type_name) if line.head), iter)

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
        for line in self.lines_of(type_name):
            gate = self.gates.shutting(type_name)
            was_ready, line.gate = line.gate is None, gate
            if was_ready and gate is not None:
                self._count_ready(line, -1)
                self._reorder(line.kind, line.head, None)
            elif not was_ready and gate is None:
                self._count_ready(line, 1)
                self._reorder(line.kind, None, line.head)

    def _count_ready(self, line: Line, sign: int) -> None:
        line.kind.ready += sign * line.count
        self.ready += sign * line.count

    def _move_head(self, line: Line) -> None:
        """Another job is the first of this line, or none is left."""
        first, old = line.first, line.head
        # A shut line keeps its head up to date, too, so that it can be put in order when its gate opens.
        new = line.head = (line.key[0], first.key, line) if first is not None else None
        if line.gate is None:
            self._reorder(line.kind, old, new)

    def _reorder(self, kind: _Kind, old: _Head | None, new: _Head | None) -> None:
        """Put one head of a type in the place of another, and the type where its first head now belongs."""
        heads = kind.heads
        was = heads[0] if heads else None
        _replace(heads, old, new)
        first = heads[0] if heads else None
        if first is was:
            return
        _replace(self._ready, was, first)
        if was is None:
            self._opened.add(kind.name)
        elif first is None:
            # Only what is open still is kept, so that this is never longer than the list of types that wait,
            # though nobody may ask for years.
            self._opened.discard(kind.name)


def _key(job: Job) -> Key:
    return -job.spec.priority, "", ()


def _replace(heads: list[_Head], old: _Head | None, new: _Head | None) -> None:
    if old is not None:
        if new is not None and len(heads) == 1:
            heads[0] = new
            return
        del heads[bisect_left(heads, old)]
    if new is not None:
        insort(heads, new)


def _merged(heads: list[_Head], jobs_of: Callable[[Line], Iterator[Job]]) -> Iterator[Job]:
    """The jobs behind these heads, which are in order. None is looked behind before its own turn comes."""
    opened: list[tuple[int, int, Job, Iterator[Job]]] = []
    unopened = iter(heads)
    upcoming = next(unopened, None)
    while opened or upcoming:
        while upcoming and (not opened or upcoming[:2] <= opened[0][:2]):
            jobs = jobs_of(upcoming[2])
            heappush(opened, (*upcoming[:2], next(jobs), jobs))
            upcoming = next(unopened, None)
        _, _, job, jobs = opened[0]
        yield job
        following = next(jobs, None)
        if following is None:
            heappop(opened)
        else:
            heapreplace(opened, (-following.spec.priority, following.place, following, jobs))

"""Which job is claimed next: higher priority first, first in first out within one.

Each type has a line of waiting jobs per priority. `_heads` keeps the first job of every
type in order, so that a claim for any type does not look at every type, and a claim for
several looks only at those.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, heapreplace

from osqueue_service.state.index import Index
from osqueue_service.state.model import Job

# (-priority, place, type): ascending order is the order of claims.
_Head = tuple[int, int, str]


class _TypeLines:
    """The waiting jobs of one type: a line per priority, the most urgent first."""

    __slots__ = ("count", "head", "lines", "ranks")

    def __init__(self) -> None:
        self.lines: dict[int, Index] = {}
        self.ranks: list[int] = []
        self.count = 0
        self.head: _Head | None = None

    def __iter__(self) -> Iterator[Job]:
        for rank in self.ranks:
            yield from self.lines[rank]


class ReadyOrder:
    """All waiting jobs in the order in which they will be claimed."""

    def __init__(self) -> None:
        self._types: dict[str, _TypeLines] = {}
        self._heads: list[_Head] = []
        self._paused: set[str] = set()
        self.total = 0
        """How many jobs wait, paused types included."""

    def add(self, job: Job) -> None:
        """The job waits from now on, at its `place`."""
        spec = job.spec
        lines = self._types.get(spec.type)
        if lines is None:
            lines = self._types[spec.type] = _TypeLines()
        rank = -spec.priority
        line = lines.lines.get(rank)
        if line is None:
            line = lines.lines[rank] = Index()
            insort(lines.ranks, rank)
        job.ready_node = line.add(job.place, job)
        lines.count += 1
        self.total += 1
        head = lines.head
        if head is None or (rank, job.place) < head[:2]:
            self._move_head(spec.type, lines)

    def remove(self, job: Job) -> None:
        """The job no longer waits."""
        spec = job.spec
        lines = self._types[spec.type]
        rank = -spec.priority
        line = lines.lines[rank]
        node = job.ready_node
        assert node is not None, "the job is not waiting"
        line.remove(node)
        job.ready_node = None
        lines.count -= 1
        self.total -= 1
        if not line.count:
            del lines.lines[rank]
            lines.ranks.remove(rank)
        head = lines.head
        if head is None or head[:2] == (rank, job.place):
            self._move_head(spec.type, lines)
        if not lines.count:
            del self._types[spec.type]

    def in_order(self, types: Iterable[str] = ()) -> Iterator[Job]:
        """The waiting jobs of these types (none given: of all) as they would be claimed. Paused types are
        left out. The order must not change meanwhile. The first k jobs cost O(k log k)."""
        heads = self._heads
        if types:
            heads = sorted(lines.head for name in set(types) if (lines := self._open(name)) and lines.head)
        if len(heads) == 1:
            yield from self._types[heads[0][2]]
        elif heads:
            yield from self._merged(heads)

    def has(self, types: Iterable[str] = ()) -> bool:
        """Whether a claim for these types (none given: for any) would find a job."""
        if not types:
            return bool(self._heads)
        return any(self._open(name) for name in types)

    def count(self, type_name: str) -> int:
        """How many jobs of the type wait, paused or not."""
        lines = self._types.get(type_name)
        return lines.count if lines else 0

    def types(self) -> Iterator[str]:
        """The types that have a waiting job."""
        return iter(self._types)

    @property
    def type_count(self) -> int:
        """How many types have a waiting job."""
        return len(self._types)

    def of_type(self, type_name: str) -> Iterator[Job]:
        """The waiting jobs of one type, paused or not, in the order of claims."""
        return iter(self._types.get(type_name, ()))

    def heads_of(self, type_name: str) -> Iterator[Job]:
        """The first waiting job of each priority of the type, the most urgent first."""
        lines = self._types.get(type_name)
        for rank in lines.ranks if lines else ():
            first = lines.lines[rank].first if lines else None
            if first is not None:
                yield first.job

    @property
    def paused(self) -> frozenset[str]:
        return frozenset(self._paused)

    def pause(self, type_name: str) -> None:
        """Hand out no jobs of this type."""
        self._paused.add(type_name)
        if lines := self._types.get(type_name):
            self._move_head(type_name, lines)

    def resume(self, type_name: str) -> None:
        """Hand out jobs of this type again."""
        self._paused.discard(type_name)
        if lines := self._types.get(type_name):
            self._move_head(type_name, lines)

    def _open(self, type_name: str) -> _TypeLines | None:
        return None if type_name in self._paused else self._types.get(type_name)

    def _move_head(self, type_name: str, lines: _TypeLines) -> None:
        """Bring `_heads` up to date with the first job of one type."""
        heads = self._heads
        if lines.head is not None:
            del heads[bisect_left(heads, lines.head)]
            lines.head = None
        if lines.ranks and type_name not in self._paused:
            rank = lines.ranks[0]
            first = lines.lines[rank].first
            assert first is not None, "an empty line is kept"
            lines.head = (rank, first.key, type_name)
            insort(heads, lines.head)

    def _merged(self, heads: list[_Head]) -> Iterator[Job]:
        """Merge the types' lines, opening a type only when its first job's turn comes."""
        open_types: list[tuple[int, int, str, Job, Iterator[Job]]] = []
        unopened = iter(heads)
        upcoming = next(unopened, None)
        while open_types or upcoming:
            while upcoming and (not open_types or upcoming[:2] <= open_types[0][:2]):
                jobs = iter(self._types[upcoming[2]])
                first = next(jobs)
                heappush(open_types, (-first.spec.priority, first.place, upcoming[2], first, jobs))
                upcoming = next(unopened, None)
            _, _, name, job, jobs = open_types[0]
            yield job
            following = next(jobs, None)
            if following is None:
                heappop(open_types)
            else:
                heapreplace(open_types, (-following.spec.priority, following.place, name, following, jobs))

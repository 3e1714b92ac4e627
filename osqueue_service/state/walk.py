"""Through the ready lines in the order of claims, with the turns that the jobs met on the way take.

What stands among the heads of a type may have been put there by fewer turns than its key has had by now. It is met too
early then, never too late: it is put behind those that are before it, and, afterwards, filed anew. So a turn costs the
same however many lines a key has, and who is met early once is not met so again.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any

from osqueue_service.state.fairness import Share, level_of
from osqueue_service.state.line import Bundle, Head, Kind, Line, Unit
from osqueue_service.state.model import Job

if TYPE_CHECKING:
    from osqueue_service.state.lines import Lines
    from osqueue_service.state.order import Order

_Opened = tuple[int, Job, Iterator[Job], Line]
# (place, job, those behind it, their line)


class Front:
    """What is left of a unit: its jobs in the order of their places, but for those `chosen` before."""

    __slots__ = ("_ahead", "_chosen", "_opened", "_unopened", "unit")

    def __init__(self, unit: Unit, chosen: set[int]) -> None:
        self.unit = unit
        self._chosen = chosen
        self._opened: list[_Opened] = []
        self._unopened: Iterator[Head] = iter(unit.heads) if type(unit) is Bundle else iter(())
        self._ahead = next(self._unopened, None)
        if isinstance(unit, Line):
            self._open(unit)

    def first(self) -> _Opened | None:
        """The next job; None when there is none."""
        opened = self._opened
        while self._ahead is not None and (not opened or self._ahead[1] < opened[0][0]):
            line = self._ahead[2]
            self._ahead = next(self._unopened, None)
            assert isinstance(line, Line)
            self._open(line)
        return opened[0] if opened else None

    def take(self) -> None:
        """The next job has been met."""
        _, _, behind, line = self._opened[0]
        job = self._next(behind)
        if job is None:
            heappop(self._opened)
        else:
            heapreplace(self._opened, (job.place, job, behind, line))

    def shut(self) -> None:
        """Nothing more of the line in which the next job is."""
        heappop(self._opened)

    def _open(self, line: Line) -> None:
        jobs = iter(line)
        job = self._next(jobs)
        if job is not None:
            heappush(self._opened, (job.place, job, jobs, line))

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        chosen = self._chosen
        for job in jobs:
            if job.number not in chosen:
                return job
        return None


class Walk:
    """Once or more through the ready lines of these types (none given: of all). `close` it afterwards, with nothing
    changed in between."""

    def __init__(self, lines: "Lines", types: Iterable[str]) -> None:
        self._lines = lines
        self._types = types
        self._chosen: set[int] = set()
        self._turns: dict[Share, int] = {}
        self._early: list[Unit] = []
        self._front: Front | None = None

    def jobs(self) -> Iterator[Job]:
        """All of them, each taken when it is met, whatever limits say."""
        for job, _ in self.candidates():
            self.choose(job)
            yield job

    def candidates(self) -> Iterator[tuple[Job, Line]]:
        """The jobs in order, with their lines. Whoever wants one has to `choose` it; nothing more comes of the line of
        one after `skip`."""
        unopened = self._heads()
        upcoming = next(unopened, None)
        opened: list[tuple[int, int, Front]] = []
        while opened or upcoming:
            while upcoming and (not opened or upcoming[:2] <= opened[0][:2]):
                unit = upcoming[2]
                if unit.rank != upcoming[0]:
                    self._early.append(unit)
                self._push(opened, Front(unit, self._chosen))
                upcoming = next(unopened, None)
            if not opened:
                continue
            rank, _, front = heappop(opened)
            if rank == self.rank_of(front.unit):
                found = front.first()
                assert found is not None
                self._front, job = front, found[1]
                yield job, found[3]
                if self._front is not None:
                    front.take()
            self._push(opened, front)

    def choose(self, job: Job) -> None:
        """The job that was met last is taken: a turn of its key."""
        self._chosen.add(job.number)
        front = self._front
        assert front is not None
        share = front.unit.share
        if share is not None:
            self._turns[share] = self.turns_of(share) + self._lines.fairness.turn(share.key)

    def skip(self) -> None:
        """The line of the job that was met last has nothing for this claim."""
        assert self._front is not None
        self._front.shut()
        self._front = None

    def is_chosen(self, job: Job) -> bool:
        """Whether the job was taken on the way."""
        return job.number in self._chosen

    def turns_of(self, share: Share) -> int:
        """The turns of a key with those that it took on the way."""
        return self._turns.get(share, share.turns)

    def rank_of(self, unit: Unit) -> int:
        """Where a unit belongs with the turns that its key took on the way."""
        share = unit.share
        return unit.key[0] if share is None else unit.key[0] + self.turns_of(share)

    def close(self) -> None:
        """File anew what was met too early."""
        for unit in self._early:
            self._lines.refresh(unit)

    def _push(self, opened: list[tuple[int, int, Front]], front: Front) -> None:
        found = front.first()
        if found is not None:
            heappush(opened, (self.rank_of(front.unit), found[0], front))

    def _heads(self) -> Iterator[Head]:
        firsts = self._lines.first_heads(self._types)
        if len(firsts) == 1:
            return iter(firsts[0][2].kind.heads)
        return _in_order([(head[0], head[1], iter(head[2].kind.heads)) for head in firsts])


def _in_order(kinds: list[tuple[int, int, Iterator[Head]]]) -> Iterator[Head]:
    """The heads of several types, merged. None is looked behind before its own turn comes."""
    ahead: list[tuple[int, int, Head, Iterator[Head]]] = []
    unopened = iter(kinds)
    upcoming = next(unopened, None)
    while ahead or upcoming:
        while upcoming and (not ahead or upcoming[:2] <= ahead[0][:2]):
            heads = upcoming[2]
            heappush(ahead, (*upcoming[:2], next(heads), heads))
            upcoming = next(unopened, None)
        _, _, head, heads = ahead[0]
        yield head
        following = next(heads, None)
        if following is None:
            heappop(ahead)
        else:
            heapreplace(ahead, (*following[:2], following, heads))


def jobs_of(kind: Kind) -> Iterator[Job]:
    """The jobs of its ready lines in order, where no turns are counted and none of the lines is under limits."""
    heads = kind.heads
    return _line_of(heads[0]) if len(heads) == 1 else merged(heads, _line_of)


def _line_of(head: Head) -> Iterator[Job]:
    unit = head[2]
    assert isinstance(unit, Line)
    return iter(unit)


def merged(heads: "Order[Any]", jobs: Callable[[Any], Iterator[Job]]) -> Iterator[Job]:
    """The jobs behind these heads, which are in order. None is looked behind before its own turn comes."""
    opened: list[tuple[int, int, Job, Iterator[Job]]] = []
    unopened = iter(heads)
    upcoming = next(unopened, None)
    while opened or upcoming:
        while upcoming and (not opened or upcoming[:2] <= opened[0][:2]):
            behind = jobs(upcoming)
            heappush(opened, (*upcoming[:2], next(behind), behind))
            upcoming = next(unopened, None)
        _, _, job, behind = opened[0]
        yield job
        following = next(behind, None)
        if following is None:
            heappop(opened)
        else:
            heapreplace(opened, (level_of(following.spec.priority), following.place, following, behind))

"""Whose turn it is under limits: a claim's jobs, each with room beside those chosen before it.

Deciding a claim changes nothing that is stored, so what the chosen jobs will take is kept beside the keys until the
records are applied. Lines that are met without room are parked, which decides nothing: it keeps the next claim from
meeting them again.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, heapreplace

from osqueue_service.state.limit_table import OPEN, LimitKey
from osqueue_service.state.line import BoundLine, Head, Line
from osqueue_service.state.lines import Lines
from osqueue_service.state.model import Job
from osqueue_service.state.named_limits import Meter
from osqueue_service.state.order import Order

_Candidate = tuple[int, int, Job, Iterator[Job], Line]
# (-priority, place, job, those behind it, their line); the second differs for all.


class Turns:
    """The jobs of these types (none given: of any) that a claim at `now_ms` may have, in order. Whoever takes one and
    asks for the next has chosen it; `close` it afterwards."""

    def __init__(self, lines: Lines, types: Iterable[str], now_ms: int) -> None:
        lines.advance(now_ms)
        self._lines = lines
        self._types = types
        self._now_ms = now_ms
        self._taken: dict[LimitKey, int] = {}
        self._paid: dict[LimitKey, int] = {}
        self._chosen: set[int] = set()
        self._blocked: list[BoundLine] = []

    def __iter__(self) -> Iterator[Job]:
        while True:
            yield from self._walk()
            # What was parked may have held a promise that another can use now.
            if not self._park() or not self._lines.parking.settle():
                return

    def choose(self, job: Job) -> None:
        """The job will be granted: its keys have less room for the next."""
        self._chosen.add(job.number)
        for use in job.spec.limits:
            key = self._lines.limits.of(use)
            self._taken[key] = self._taken.get(key, 0) + use.cost
            paid = key.paid_after(use.cost, self._now_ms, self._paid.get(key, 0))
            if paid:
                self._paid[key] = paid

    def close(self) -> list[Meter]:
        """Park what was met without room; the meters of rates as the chosen jobs leave them."""
        self._park()
        return [Meter(key.name, key.key, paid, key.held_until) for key, paid in self._paid.items()]

    def _walk(self) -> Iterator[Job]:
        """Once through the ready lines."""
        kinds: list[tuple[int, int, Iterator[Head]]] = []
        firsts = self._lines.first_heads(self._types)
        if len(firsts) == 1:
            heads: Order[Head] = firsts[0][2].kind.heads
        else:
            heads = []
            kinds = [(head[0], head[1], iter(head[2].kind.heads)) for head in firsts]
        unopened = _in_order(kinds) if kinds else iter(heads)
        upcoming = next(unopened, None)
        opened: list[_Candidate] = []
        while opened or upcoming:
            while upcoming and (not opened or upcoming[:2] <= opened[0][:2]):
                self._open(opened, upcoming[2])
                upcoming = next(unopened, None)
            if not opened:
                continue
            _, _, job, behind, line = opened[0]
            if type(line) is BoundLine and not self._has_room(line, job):
                heappop(opened)
                continue
            yield job
            following = self._next(behind)
            if following is None:
                heappop(opened)
            else:
                heapreplace(opened, (line.key[0], following.place, following, behind, line))

    def _open(self, opened: list[_Candidate], line: Line) -> None:
        jobs = iter(line)
        job = self._next(jobs)
        if job is not None:
            heappush(opened, (line.key[0], job.place, job, jobs, line))

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        chosen = self._chosen
        for job in jobs:
            if job.number not in chosen:
                return job
        return None

    def _has_room(self, line: BoundLine, job: Job) -> bool:
        """Whether the job may start beside those chosen. A line whose first job has no room whatever was chosen is
        noted, to be parked."""
        for key, use in zip(line.keys, job.spec.limits, strict=True):
            if key.opens(use.cost, self._now_ms, self._taken.get(key, 0), self._paid.get(key, 0)) != OPEN:
                self._blocked.append(line)
                return False
            waiters = key.waiters
            if waiters and (entries := waiters.get(line.type)) and entries[0][:2] < (line.key[0], job.place):
                self._blocked.append(line)
                return False
        return True

    def _park(self) -> bool:
        blocked, self._blocked = self._blocked, []
        parked = False
        for line in blocked:
            if line.gate is None and line.first is not None and line.first.job.number not in self._chosen:
                parked = self._lines.park(line) or parked
        return parked


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

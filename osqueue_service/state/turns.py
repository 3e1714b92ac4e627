"""Whose turn it is under limits: a claim's jobs, each with room beside those chosen before it.

Deciding a claim changes nothing that is stored, so what the chosen jobs will take is kept beside the keys until the
records are applied. Lines that are met without room are parked, which decides nothing: it keeps the next claim from
meeting them again.
"""

from collections.abc import Iterable, Iterator

from osqueue_service.state.limit_table import OPEN, LimitKey
from osqueue_service.state.line import BoundLine
from osqueue_service.state.lines import Lines
from osqueue_service.state.model import Job
from osqueue_service.state.named_limits import Meter
from osqueue_service.state.walk import Walk


class Turns:
    """The jobs of these types (none given: of any) that a claim at `now_ms` may have, in order. Whoever takes one and
    asks for the next has chosen it; `close` it afterwards."""

    def __init__(self, lines: Lines, types: Iterable[str], now_ms: int) -> None:
        lines.advance(now_ms)
        self._lines = lines
        self._walk = Walk(lines, types)
        self._now_ms = now_ms
        self._taken: dict[LimitKey, int] = {}
        self._paid: dict[LimitKey, int] = {}
        self._blocked: list[BoundLine] = []

    def __iter__(self) -> Iterator[Job]:
        while True:
            for job, line in self._walk.candidates():
                if type(line) is BoundLine and not self._has_room(line, job):
                    self._walk.skip()
                else:
                    yield job
            # What was parked may have held a promise that another can use now.
            if not self._park() or not self._lines.parking.settle():
                return

    def choose(self, job: Job) -> None:
        """The job will be granted: its keys have less room for the next, and its fairness key has had a turn."""
        self._walk.choose(job)
        for use in job.spec.limits:
            key = self._lines.limits.of(use)
            self._taken[key] = self._taken.get(key, 0) + use.cost
            paid = key.paid_after(use.cost, self._now_ms, self._paid.get(key, 0))
            if paid:
                self._paid[key] = paid

    def close(self) -> list[Meter]:
        """Park what was met without room, and file what was met too early; the meters of rates as the chosen jobs leave
        them."""
        self._park()
        self._walk.close()
        return [Meter(key.name, key.key, paid, key.held_until) for key, paid in self._paid.items()]

    def _has_room(self, line: BoundLine, job: Job) -> bool:
        """Whether the job may start beside those chosen. A line whose first job has no room whatever was chosen is
        noted, to be parked."""
        parking = self._lines.parking
        for key, use in zip(line.keys, job.spec.limits, strict=True):
            if key.opens(use.cost, self._now_ms, self._taken.get(key, 0), self._paid.get(key, 0)) != OPEN:
                self._blocked.append(line)
                return False
            if key.waiters and line.type in key.waiters:
                first = parking.first_waiting(key, line.type)
                if first[:2] < (self._walk.rank_of(line.bundle), job.place):
                    self._blocked.append(line)
                    return False
        return True

    def _park(self) -> bool:
        blocked, self._blocked = self._blocked, []
        parked = False
        for line in blocked:
            if line.gate is None and line.first is not None and not self._walk.is_chosen(line.first.job):
                parked = self._lines.park(line) or parked
        return parked

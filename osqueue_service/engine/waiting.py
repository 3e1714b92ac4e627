"""Callers that wait: for a job to claim, or for a job to finish."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from msgspec import Struct

from osqueue_service.errors import TooManyRequests
from osqueue_service.state.commands import Claim, Granted
from osqueue_service.state.lines import Lines
from osqueue_service.state.model import Job
from osqueue_service.state.moves import Moves


class WaitingClaim(Struct, eq=False):
    """A claim that found no job and waits for one. Compared by identity."""

    command: Claim
    answer: "asyncio.Future[list[Granted]]"
    arrival: int
    over: bool = False


class WaitingClaims:
    """Waiting claims, served in the order in which they came.

    A claim for several types stands in the row of each; one that is over is dropped from a row when
    it is met there, and a row that is mostly of those is rebuilt, so that rows stay as long as the callers are many.
    """

    _ANY = "*"
    """The row of claims for any type: no type's name, and not "", which stands for jobs without a type."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[WaitingClaim]] = {}
        self._over: dict[str, int] = {}
        self._arrivals = 0
        self.count = 0

    def add(self, command: Claim, answer: "asyncio.Future[list[Granted]]") -> WaitingClaim:
        """The claim waits from now on, behind all others."""
        self._arrivals += 1
        waiting = WaitingClaim(command, answer, self._arrivals)
        for name in self._names(command):
            self._rows.setdefault(name, deque()).append(waiting)
        self.count += 1
        return waiting

    def remove(self, waiting: WaitingClaim) -> None:
        """The claim waits no longer: it was served, its time is up, or its caller is gone. Idempotent."""
        if waiting.over:
            return
        waiting.over = True
        self.count -= 1
        for name in self._names(waiting.command):
            if name not in self._rows:
                continue
            self._over[name] = self._over.get(name, 0) + 1
            if self._over[name] * 2 > len(self._rows[name]):
                self._rebuild(name)

    def servable(self, lines: Lines) -> Iterator[tuple[WaitingClaim, int]]:
        """One after the other, the claims that would find a job now, with the number of jobs that is their fair
        share. The caller serves each (and removes it) before asking for the next.

        That a claim waits means that no job of its types could be claimed when they were last served: only types that
        have become open since can serve one, however many claims wait and whatever else does.
        """
        if not self.count:
            return
        opened = lines.take_opened()
        names = [self._ANY, *opened] if opened else []
        fronts = [(front.arrival, name) for name in names if (front := self._front(name))]
        heapify(fronts)
        while fronts:
            arrival, name = fronts[0]
            front = self._front(name)
            if front is None or not lines.has(() if name == self._ANY else (name,)):
                heappop(fronts)
            elif front.arrival != arrival:
                heapreplace(fronts, (front.arrival, name))
            else:
                yield front, self._share(lines, front.command.types)
                assert front.over, "a servable claim was neither served nor removed"

    def wants(self, type_name: str) -> bool:
        """Whether a claim waits that takes jobs of the type."""
        return self._front(type_name) is not None or self._front(self._ANY) is not None

    def __iter__(self) -> Iterator[WaitingClaim]:
        seen: set[int] = set()
        for row in list(self._rows.values()):
            for waiting in list(row):
                if not waiting.over and waiting.arrival not in seen:
                    seen.add(waiting.arrival)
                    yield waiting

    def _front(self, name: str) -> WaitingClaim | None:
        """The first claim of a row, if there is one; those that are over leave it."""
        row = self._rows.get(name)
        if row is None:
            return None
        while row and row[0].over:
            row.popleft()
            self._over[name] -= 1
        if row:
            return row[0]
        del self._rows[name]
        self._over.pop(name, None)
        return None

    def _share(self, lines: Lines, types: Iterable[str]) -> int:
        """Jobs per waiting claim, so that the first does not leave the others idle. At least one."""
        names = list(types)
        jobs = sum(map(lines.count, names)) if names else lines.ready
        rivals = max(1, sum(len(self._rows[n]) - self._over.get(n, 0) for n in {*names, self._ANY} if n in self._rows))
        return max(1, -(-jobs // rivals))

    def _rebuild(self, name: str) -> None:
        left = deque(waiting for waiting in self._rows[name] if not waiting.over)
        self._over[name] = 0
        if left:
            self._rows[name] = left
        else:
            del self._rows[name], self._over[name]

    def _names(self, command: Claim) -> Iterable[str]:
        return dict.fromkeys(command.types) if command.types else (self._ANY,)


class FinishWaiter(Struct, eq=False):
    """One caller that waits for one job to finish. Compared by identity."""

    number: int
    future: "asyncio.Future[None]"
    job: Job | None = None
    """The job as it ended: it may be let go of before the caller looks."""

    def time_is_up(self) -> None:
        """Stop waiting, whatever the job is doing."""
        if not self.future.done():
            self.future.set_result(None)


class FinishWaiters:
    """Callers that wait for jobs to finish. Each hears of it when that is durable."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiters: dict[int, list[FinishWaiter]] = {}
        self.count = 0

    def add(self, number: int) -> FinishWaiter:
        """Wait for this job; TOO_MANY_REQUESTS at the limit."""
        if self.count >= self._limit:
            raise TooManyRequests(
                f"{self._limit} calls wait for jobs to finish, which is the limit (waiting_reads): ask with a shorter "
                "wait_ms, or try again later",
                retry_after_ms=1_000,
            )
        waiter = FinishWaiter(number, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(number, []).append(waiter)
        self.count += 1
        return waiter

    def remove(self, waiter: FinishWaiter) -> None:
        """The caller waits no longer."""
        waiters = self._waiters[waiter.number]
        waiters.remove(waiter)
        self.count -= 1
        if not waiters:
            del self._waiters[waiter.number]

    def finished_by(self, moves: Iterable[Moves]) -> list[int]:
        """The jobs that finish or are removed by these moves, of those that somebody waits for."""
        ended: list[int] = []
        for move in moves:
            if move.target is None or move.target.finished:
                for job in move.jobs:
                    if job.number in self._waiters:
                        ended.append(job.number)
                        for waiter in self._waiters[job.number]:
                            waiter.job = job
        return ended

    def notify(self, numbers: Iterable[int]) -> None:
        """These jobs are finished, durably."""
        for number in numbers:
            for waiter in self._waiters.get(number, ()):
                waiter.time_is_up()

    def close(self, error: Exception) -> None:
        """Nobody will hear of any job any more."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(error)

"""How jobs ended that are no longer kept: remembered for a moment, for those who wait for them.

A job may be let go as soon as it has finished, because it asked to be kept for no longer, or because too many others
have finished. Whoever submitted it learns of its result by a call of its own, which arrives a moment later.
"""

from collections import OrderedDict
from collections.abc import Iterable

from osqueue_service.limits import Limits
from osqueue_service.state.model import Job
from osqueue_service.state.moves import Cause, Moves
from osqueue_service.state.state import State


class Outcomes:
    """Finished jobs that were let go within `outcome_ttl_ms` of their end, by id. Those that an operator purged are not
    among them."""

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def bytes(self) -> int:
        """What they take, counted as finished jobs are."""
        return self._bytes

    def follow(self, moves: Iterable[Moves], now_ms: int) -> None:
        """Remember what these moves let go of, and forget what is beyond the limits."""
        for move in moves:
            if move.cause is Cause.EVICTED:
                since_ms = now_ms - self._limits.outcome_ttl_ms
                for job in move.jobs:
                    if job.finished_at > since_ms:
                        self._jobs[self._state.job_id(job)] = job
                        self._bytes += job.size
                self._forget(since_ms)

    def find(self, job_id: str, now_ms: int) -> Job | None:
        """The job as it ended, if it was let go of just now."""
        self._forget(now_ms - self._limits.outcome_ttl_ms)
        return self._jobs.get(job_id)

    def _forget(self, since_ms: int) -> None:
        limits, jobs = self._limits, self._jobs
        while jobs:
            oldest = next(iter(jobs.values()))
            within = len(jobs) <= limits.outcome_jobs and self._bytes <= limits.outcome_bytes
            if within and oldest.finished_at > since_ms:
                return
            self._bytes -= jobs.popitem(last=False)[1].size

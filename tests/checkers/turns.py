"""Who may run beside whom: under one unique key one job at a time, in one sequence one after the other."""

from typing import TYPE_CHECKING

from osqueue_service.state.model import Status
from osqueue_service.state.unique import AfterDead, Until

if TYPE_CHECKING:
    from tests.checkers.logbook import JobEntry


class Turns:
    """Follows the attempts in the log; what is wrong goes to `broken`."""

    def __init__(self, broken: list[str]) -> None:
        self._broken = broken
        self._running: dict[str, JobEntry] = {}
        self._sequences: dict[str, list[JobEntry]] = {}

    def submitted(self, job: "JobEntry") -> None:
        if job.spec.sequence is not None:
            self._sequences.setdefault(job.spec.sequence.key, []).append(job)

    def claimed(self, job: "JobEntry") -> None:
        """An attempt begins: nobody else's runs under its keys, and nobody in its sequence comes before it."""
        for name in _names(job):
            other = self._running.get(name)
            if other is not None:
                self._broken.append(f"{name}: {job.job_id} was claimed while {other.job_id} ran")
            self._running[name] = job
        sequence = job.spec.sequence
        if sequence is None:
            return
        jobs = self._sequences[sequence.key]
        while jobs and not _comes_first(jobs[0]):
            del jobs[0]
        for other in jobs:
            if other.number < job.number and _comes_first(other) and not job.changes["retry"]:
                self._broken.append(f"sequence {sequence.key!r}: {job.job_id} overtook {other.job_id}")
                return

    def ended(self, job: "JobEntry") -> None:
        """Its attempt is over."""
        for name in _names(job):
            if self._running.get(name) is job:
                del self._running[name]


def _names(job: "JobEntry") -> list[str]:
    """What only one job may run under."""
    names = []
    unique, sequence = job.spec.unique, job.spec.sequence
    if unique is not None and unique.until is not Until.STARTED:
        names.append(f"unique key {unique.held_as(job.spec.type)!r}")
    if sequence is not None:
        names.append(f"sequence {sequence.key!r}")
    return names


def _comes_first(job: "JobEntry") -> bool:
    """Whether those behind it wait for it. One that was retried may stand at the end."""
    if job.gone or job.changes["retry"]:
        return False
    holds = job.spec.sequence is not None and job.spec.sequence.after_dead is AfterDead.HOLD
    return not job.status.finished or (job.status is Status.DEAD and holds)

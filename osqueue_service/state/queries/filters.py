"""Which jobs somebody means: by status, type, worker, time, labels, error."""

from collections.abc import Callable, Iterator
from heapq import merge
from operator import attrgetter

from msgspec import Struct

from osqueue_service.state.graphs import member_of
from osqueue_service.state.index import Index
from osqueue_service.state.model import Job, Status
from osqueue_service.state.schedules import made_by_schedule
from osqueue_service.state.state import State


class Filter(Struct, frozen=True):
    """A job matches when it matches everything that is set."""

    statuses: tuple[Status, ...]
    types: frozenset[str] = frozenset()
    worker_id: str = ""
    created_from: int = 0
    created_before: int = 0
    labels: dict[str, str] | None = None
    error_type: str = ""
    finished_from: int = 0
    finished_before: int = 0
    unique_key: str = ""
    schedule_id: str = ""
    sequence_key: str = ""
    fairness_key: str = ""
    batch_id: str = ""
    workflow_id: str = ""
    limit_name: str = ""
    limit_key: str = ""

    def candidates(self, state: State, after: int, *, newest: bool = False) -> Iterator[Job]:
        """The jobs in these statuses submitted after the job with this number, oldest first; with `newest` those
        submitted before it, newest first, and all of them before 0."""
        if self.unique_key or self.sequence_key:
            return _in_order(self._by_key(state), after, newest)
        if self.batch_id or self.workflow_id:
            return self._together(state, after, newest)
        if newest:
            rosters = [_before(state.roster(status), after) for status in self.statuses]
        else:
            rosters = [state.roster(status).from_key(after + 1) for status in self.statuses]
        return rosters[0] if len(rosters) == 1 else merge(*rosters, key=attrgetter("number"), reverse=newest)

    def membership(self, state: State) -> Callable[[Job], bool] | None:
        """Whether a job is among the candidates that keys, a batch or a workflow leave; None where all are. For a walk
        that comes by all jobs."""
        if self.unique_key or self.sequence_key:
            numbers = {job.number for job in self._by_key(state)}
            return lambda job: job.number in numbers
        if self.batch_id and self.workflow_id:
            return lambda job: False  # no job is in both
        number = state.ids.number_of(self.workflow_id or self.batch_id) or 0
        if self.batch_id:
            return lambda job: job.spec.more is not None and job.spec.more.batch == number
        if self.workflow_id:
            return lambda job: (member := member_of(job)) is not None and member.workflow == number
        return None

    def _by_key(self, state: State) -> list[Job]:
        """Those that hold the key or wait behind one that does; who has let go of it has nothing to do with it."""
        if self.unique_key:
            found = state.uniques.named(self.unique_key, iter(self.types or state.type_counts))
        else:
            found = state.sequences.jobs(self.sequence_key)
        return [job for job in found if job.status in self.statuses]

    def _together(self, state: State, after: int, newest: bool) -> Iterator[Job]:
        """Those of one workflow, or batch: it knows them."""
        if self.workflow_id and self.batch_id:
            return  # no job is in both
        number = state.ids.number_of(self.workflow_id or self.batch_id) or 0
        if self.workflow_id:
            graph = state.graphs.by_number.get(number)
            nodes = [state.jobs.get(each) for each in sorted(graph.nodes.values())] if graph is not None else []
            kept = [job for job in nodes if job is not None and job.status in self.statuses]
            yield from _in_order(kept, after, newest)
            return
        batches = state.batches
        for each in batches.members_before(number, after) if newest else batches.members(number, after):
            job = state.jobs.get(each)
            if job is not None and job.status in self.statuses:
                yield job

    def matches(self, job: Job) -> bool:
        """Whether a candidate is meant. The status is that of its roster."""
        if self.types and job.spec.type not in self.types:
            return False
        if self.created_from and job.created_at < self.created_from:
            return False
        if self.created_before and job.created_at >= self.created_before:
            return False
        if self.finished_from and job.finished_at < self.finished_from:
            return False
        if self.finished_before and not 0 < job.finished_at < self.finished_before:
            return False
        if self.sequence_key and (job.spec.sequence is None or job.spec.sequence.key != self.sequence_key):
            return False
        if (self.fairness_key or self.limit_name or self.limit_key) and not self._matches_flow(job):
            return False
        if self.worker_id and _worker(job) != self.worker_id:
            return False
        if self.error_type and _last_error(job) != self.error_type:
            return False
        if self.schedule_id and made_by_schedule(job) != self.schedule_id:
            return False
        if self.labels:
            labels = job.spec.metadata or {}
            return all(labels.get(key) == value for key, value in self.labels.items())
        return True

    def _matches_flow(self, job: Job) -> bool:
        """Its fairness key, and one of its limits: where a name and a key are asked for, one limit has both."""
        if self.fairness_key and job.spec.fairness_key != self.fairness_key:
            return False
        if not (self.limit_name or self.limit_key):
            return True
        return any(self.limit_name in ("", use.limit) and self.limit_key in ("", use.key) for use in job.spec.limits)


def _before(roster: Index, number: int) -> Iterator[Job]:
    return roster.down_from(number - 1) if number else roster.backwards()


def _in_order(jobs: list[Job], after: int, newest: bool) -> Iterator[Job]:
    """A few jobs, which come oldest first."""
    if newest:
        return (job for job in reversed(jobs) if not after or job.number < after)
    return (job for job in jobs if job.number > after)


def _worker(job: Job) -> str:
    if job.lease is not None:
        return job.lease.worker_id
    return job.history[-1].worker_id if job.history else ""


def _last_error(job: Job) -> str:
    return next((end.error_type for end in reversed(job.history) if end.error_type or end.error_message), "")

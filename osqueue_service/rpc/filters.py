"""Which jobs a caller means: by status, type, worker, time, labels, error."""

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

from msgspec import Struct

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import (
    TypeNames,
    check_count,
    check_name,
    check_printable,
    check_text,
    read_labels,
    shown,
)
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.model import Job, Status
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import job_pb2

LIVE = (Status.UNCLAIMED, Status.SCHEDULED, Status.IN_PROGRESS)
FINISHED = (Status.COMPLETED, Status.DEAD, Status.CANCELLED)

_BY_WIRE = {status.wire: status for status in Status}


class Filter(Struct, frozen=True):
    """A job matches when it matches everything that is set."""

    statuses: tuple[Status, ...]
    types: frozenset[str] = frozenset()
    worker_id: str = ""
    created_from: int = 0
    created_before: int = 0
    labels: dict[str, str] | None = None
    error_type: str = ""

    def candidates(self, state: State, after: int) -> Iterator[Job]:
        """The jobs in these statuses submitted after the job with this number, oldest first."""
        rosters = [state.roster(status).from_key(after + 1) for status in self.statuses]
        return rosters[0] if len(rosters) == 1 else merge(*rosters, key=attrgetter("number"))

    def matches(self, job: Job) -> bool:
        """Whether a candidate is meant. The status is that of its roster."""
        if self.types and job.spec.type not in self.types:
            return False
        if self.created_from and job.created_at < self.created_from:
            return False
        if self.created_before and job.created_at >= self.created_before:
            return False
        if self.worker_id and _worker(job) != self.worker_id:
            return False
        if self.error_type and _last_error(job) != self.error_type:
            return False
        if self.labels:
            labels = job.spec.metadata or {}
            return all(labels.get(key) == value for key, value in self.labels.items())
        return True


def read_filter(
    filter: job_pb2.JobFilter,
    limits: Limits,
    types: TypeNames,
    wrong: Violations,
    *,
    default: tuple[Status, ...] = LIVE,
    allowed: tuple[Status, ...] = tuple(Status),
) -> Filter:
    """The filter of a request. `allowed`: the statuses that make sense for it, `default` when it names none."""
    statuses = []
    check_count(len(filter.statuses), "filter.statuses", len(Status), "one of each", wrong)
    for position, name in enumerate(filter.statuses[: len(Status)]):
        status = _BY_WIRE.get(name)
        if status is None or status not in allowed:
            may_be = ", ".join(status.wire for status in allowed)
            wrong.add(f"filter.statuses[{position}]", f"is {shown(name)}; it must be one of {may_be}")
        else:
            statuses.append(status)
    check_count(len(filter.types), "filter.types", limits.claim_types, "claim_types", wrong)
    names = frozenset(
        types.read(name, f"filter.types[{position}]", wrong)
        for position, name in enumerate(filter.types[: limits.claim_types])
    )
    check_name(filter.worker_id, "filter.worker_id", limits.id_chars, wrong)
    for field, moment in (("created_from", filter.created_from), ("created_before", filter.created_before)):
        if moment < 0:
            wrong.add(f"filter.{field}", f"is {moment}; it must be milliseconds since 1970-01-01 UTC, or 0")
    check_count(len(filter.metadata), "filter.metadata", limits.filter_labels, "filter_labels", wrong)
    check_text(filter.error_type, "filter.error_type", limits.error_type_bytes, "error_type_bytes", wrong)
    check_printable(filter.error_type, "filter.error_type", wrong)
    return Filter(
        statuses=tuple(sorted(set(statuses))) or default,
        types=names,
        worker_id=filter.worker_id,
        created_from=filter.created_from,
        created_before=filter.created_before,
        labels=read_labels(filter.metadata, "filter.metadata", limits.metadata_bytes, wrong),
        error_type=filter.error_type,
    )


def _worker(job: Job) -> str:
    if job.lease is not None:
        return job.lease.worker_id
    return job.history[-1].worker_id if job.history else ""


def _last_error(job: Job) -> str:
    return next((end.error_type for end in reversed(job.history) if end.error_type or end.error_message), "")

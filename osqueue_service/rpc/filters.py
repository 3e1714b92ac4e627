"""The filter of a request, checked."""

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import (
    TypeNames,
    Violations,
    check_count,
    check_name,
    check_printable,
    check_text,
    read_labels,
    shown,
)
from osqueue_service.rpc.limit_uses import check_fairness_key, check_key
from osqueue_service.state.model import FINISHED, LIVE, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_stubs.osqueue.v1 import job_pb2

_MOMENTS = [field.name for field in job_pb2.JobFilter.DESCRIPTOR.fields if field.cpp_type == field.CPPTYPE_INT64]
"""The numbers of a filter are points in time, and called alike on both sides."""

_BY_WIRE = {status.wire: status for status in Status}


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
    if filter.finished_from or filter.finished_before:
        default = tuple(status for status in FINISHED if status in allowed) or default
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
        types.chosen(name, f"filter.types[{position}]", wrong)
        for position, name in enumerate(filter.types[: limits.claim_types])
    )
    check_name(filter.worker_id, "filter.worker_id", limits.id_chars, wrong)
    for name in ("schedule_id", "batch_id", "workflow_id"):
        check_name(getattr(filter, name), f"filter.{name}", limits.id_chars, wrong)
    moments = {name: getattr(filter, name) for name in _MOMENTS}
    for name, moment in moments.items():
        if moment < 0:
            wrong.add(f"filter.{name}", f"is {moment}; it must be milliseconds since 1970-01-01 UTC, or 0")
    check_count(len(filter.metadata), "filter.metadata", limits.filter_labels, "filter_labels", wrong)
    check_text(filter.error_type, "filter.error_type", limits.error_type_bytes, "error_type_bytes", wrong)
    check_printable(filter.error_type, "filter.error_type", wrong)
    check_name(filter.sequence_key, "filter.sequence_key", limits.sequence_key_chars, wrong)
    check_fairness_key(filter.fairness_key, "filter.fairness_key", limits, wrong)
    check_name(filter.limit_name, "filter.limit_name", limits.id_chars, wrong)
    check_key(filter.limit_key, "filter.limit_key", limits, wrong)
    check_name(filter.unique_key, "filter.unique_key", limits.unique_key_chars, wrong)
    return Filter(
        statuses=tuple(sorted(set(statuses))) or default,
        types=names,
        worker_id=filter.worker_id,
        **moments,
        labels=read_labels(filter.metadata, "filter.metadata", limits.metadata_bytes, wrong),
        error_type=filter.error_type,
        unique_key=filter.unique_key,
        schedule_id=filter.schedule_id,
        sequence_key=filter.sequence_key,
        fairness_key=filter.fairness_key,
        batch_id=filter.batch_id,
        workflow_id=filter.workflow_id,
        limit_name=filter.limit_name,
        limit_key=filter.limit_key,
    )

"""What values the broker accepts by default, in JSON schema's words, for readers of /openapi.json.

Nothing here decides anything: the broker checks, and its errors say the same. Rules that JSON schema cannot tell
(sizes in bytes, a year ahead of now, statuses that one call takes and another does not) are in the descriptions only.
"""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from osqueue.job import FINISHED_STATUSES, LIVE_STATUSES

SECOND_MS = 1_000
DAY_MS = 24 * 3_600 * SECOND_MS

Constraint = dict[str, Any]

BASE64_PATTERN = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
PRINTABLE: Constraint = {"pattern": r"^(?: |[^\p{C}\p{Z}])*$"}
NAME: Constraint = {**PRINTABLE, "maxLength": 128}
REQUIRED_NAME: Constraint = {**NAME, "minLength": 1}
TYPE: Constraint = {"pattern": "^[A-Za-z0-9._:/-]{0,128}$"}
SCHEDULE_ID: Constraint = {"pattern": "^[A-Za-z][A-Za-z0-9._-]{0,127}$"}
MOMENT: Constraint = {"minimum": 0}
MOMENTS = ("_at", "_from", "_before")
"""How the names of points in time end."""
DELAY: Constraint = {"minimum": 0, "maximum": 365 * DAY_MS}
LEASE: Constraint = {"oneOf": [{"const": 0}, {"minimum": 100, "maximum": 12 * 3_600 * SECOND_MS}]}
FRACTION: Constraint = {"minimum": 0, "maximum": 1}
PAGE: Constraint = {"minimum": 0, "maximum": 1_000}
STATUSES = (*LIVE_STATUSES, *FINISHED_STATUSES)
STATUS: Constraint = {"enum": list(STATUSES)}


def _many(most: int, least: int = 0, items: Constraint | None = None) -> Constraint:
    return {"minItems": least, "maxItems": most, **({"items": items} if items else {})}


_BATCH = _many(1_000, least=1)
_IDS = _many(1_000, items=REQUIRED_NAME)
CHOSEN_TYPE: Constraint = {"maxLength": 1_024}
"""Of jobs that are there: what was adopted from others may have any characters."""
_TYPES = _many(128, items=CHOSEN_TYPE)

BY_NAME: dict[str, Constraint] = {
    "claim_key": NAME,
    "idempotency_key": NAME,
    "job_id": REQUIRED_NAME,
    "job_ids": _IDS,
    "lease_ms": LEASE,
    "lease_token": NAME,
    "page_size": PAGE,
    "request_id": NAME,
    "schedule_id": SCHEDULE_ID,
    "types": _TYPES,
    "wait_ms": {"minimum": 0},
    "worker_version": NAME,
}
"""Constraints of every request field of that name."""

BY_FIELD: dict[str, Constraint] = {
    "SubmitJobRequest.payload": {"minLength": 4},
    "SubmitJobRequest.max_attempts": {"minimum": 1, "maximum": 1_000},
    "SubmitJobRequest.type": TYPE,
    "SubmitJobRequest.priority": {"minimum": -1_000, "maximum": 1_000},
    "SubmitJobRequest.delay_ms": DELAY,
    "SubmitJobRequest.timeout_ms": {"minimum": 0, "maximum": 7 * DAY_MS},
    "SubmitJobRequest.retention_ms": {"minimum": 0, "maximum": 30 * DAY_MS},
    "SubmitJobsRequest.jobs": _BATCH,
    "SubmitJobRequest.sequence_key": NAME,
    "SubmitJobRequest.fairness_key": {**PRINTABLE, "maxLength": 64},
    "PutFairnessWeightRequest.key": {**PRINTABLE, "maxLength": 64},
    "PutFairnessWeightRequest.weight": {"minimum": 0.001, "maximum": 1_000},
    "Unique.key": REQUIRED_NAME,
    "Unique.ttl_ms": DELAY,
    "Unique.max_wait_ms": {"minimum": 0, "maximum": 3_650 * DAY_MS},
    "RetryPolicy.initial_ms": DELAY,
    "RetryPolicy.multiplier": {"minimum": 1, "maximum": 1_000},
    "RetryPolicy.max_ms": DELAY,
    "RetryPolicy.jitter": FRACTION,
    "ClaimJobRequest.worker_id": REQUIRED_NAME,
    "ClaimJobsRequest.worker_id": REQUIRED_NAME,
    "ClaimJobsRequest.max_jobs": {"minimum": 0, "maximum": 1_000},
    "ClaimJobsRequest.max_bytes": {"minimum": 0},
    "HeartbeatRequest.worker_id": REQUIRED_NAME,
    "HeartbeatJobsRequest.heartbeats": _BATCH,
    "Progress.fraction": FRACTION,
    "CompleteJobRequest.worker_id": REQUIRED_NAME,
    "CompleteJobsRequest.completions": _BATCH,
    "FailJobRequest.worker_id": REQUIRED_NAME,
    "FailJobRequest.retry_delay_ms": DELAY,
    "ReleaseJobRequest.worker_id": REQUIRED_NAME,
    "JobFilter.statuses": _many(len(STATUSES), items=STATUS),
    "JobFilter.worker_id": NAME,
    "JobFilter.unique_key": NAME,
    "JobFilter.sequence_key": NAME,
    "JobFilter.fairness_key": {**PRINTABLE, "maxLength": 64},
    "JobFilter.limit_name": NAME,
    "JobFilter.limit_key": {**PRINTABLE, "maxLength": 128},
    "JobFilter.error_type": {**PRINTABLE, "maxLength": 256},
    "JobFilter.metadata": {"maxProperties": 8, "propertyNames": {**PRINTABLE, "minLength": 1}},
    "JobError.type": {**PRINTABLE, "maxLength": 256},
    "SubmitJobRequest.metadata": {"propertyNames": {**PRINTABLE, "minLength": 1}},
    "WatchJobsRequest.stats_interval_ms": {"minimum": 0},
    "GetHistoryRequest.since": MOMENT,
    "GetHistoryRequest.step_ms": {"oneOf": [{"const": 0}, {"minimum": SECOND_MS, "maximum": 3_600 * SECOND_MS}]},
    "GetHistoryRequest.max_points": {"minimum": 0, "maximum": 3_600},
    "PauseTypesRequest.types": _many(128, least=1, items=CHOSEN_TYPE),
    "ResumeTypesRequest.types": _many(128, least=1, items=CHOSEN_TYPE),
    "ListWorkersRequest.page_token": NAME,
    "GroupDeadRequest.max_groups": PAGE,
    "JobFilter.schedule_id": NAME,
    "Schedule.id": SCHEDULE_ID,
    "Schedule.cron": {"maxLength": 256},
    "Schedule.every_ms": {"oneOf": [{"const": 0}, {"minimum": SECOND_MS, "maximum": 365 * DAY_MS}]},
    "Schedule.jitter_ms": {"minimum": 0, "maximum": 3_600 * SECOND_MS},
    "Schedule.max_fires": {"minimum": 0, "maximum": 1_000_000_000},
    "Schedule.catchup_window_ms": {"oneOf": [{"const": 0}, {"minimum": 60 * SECOND_MS, "maximum": 365 * DAY_MS}]},
    "Schedule.pause_after_dead": {"minimum": 0, "maximum": 1_000},
    "ListSchedulesRequest.prefix": NAME,
    "ListSchedulesRequest.page_token": NAME,
    "PauseScheduleRequest.reason": PRINTABLE,
    "BackfillScheduleRequest.first_at": MOMENT,
    "BackfillScheduleRequest.end_at": {"minimum": 1},
    "PreviewScheduleRequest.schedule_id": {"pattern": "^([A-Za-z][A-Za-z0-9._-]{0,127})?$"},
    "PreviewScheduleRequest.after": MOMENT,
    "PreviewScheduleRequest.count": {"minimum": 0, "maximum": 100},
}
"""Constraints of single fields; they win over those by name."""

REQUIRED: dict[str, set[str]] = {
    "SubmitJobsRequest": {"jobs"},
    "ClaimJobRequest": {"worker_id"},
    "ClaimJobsRequest": {"worker_id"},
    "HeartbeatRequest": {"job_id", "worker_id"},
    "HeartbeatJobsRequest": {"heartbeats"},
    "CompleteJobRequest": {"job_id", "worker_id"},
    "CompleteJobsRequest": {"completions"},
    "FailJobRequest": {"job_id", "worker_id"},
    "ReleaseJobRequest": {"job_id", "worker_id"},
    "PauseTypesRequest": {"types"},
    "ResumeTypesRequest": {"types"},
    "PutScheduleRequest": {"schedule"},
    "BackfillScheduleRequest": {"end_at"},
}
"""Fields that a call cannot do without."""

PAYLOAD_REQUIRED = {"SubmitJobRequest"}

IDS_OR_FILTER: Constraint = {
    "oneOf": [
        {"required": ["jobIds"], "properties": {"jobIds": {"minItems": 1}}, "not": {"required": ["filter"]}},
        {"required": ["filter"], "properties": {"jobIds": {"maxItems": 0}}},
    ]
}
"""Of requests with both: exactly one must say which jobs."""


def of(field: FieldDescriptor) -> Constraint:
    """What is known about a request's field; keys of JSON schema."""
    _, _, name = field.full_name.removesuffix(f".{field.name}").rpartition(".")
    known = BY_FIELD.get(f"{name}.{field.name}") or BY_NAME.get(field.name)
    if known is None and field.name.endswith(MOMENTS):
        return MOMENT
    return known or {}

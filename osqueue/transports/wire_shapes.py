"""Between the SDK's types and protobuf messages. No decisions here."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from osqueue.errors import OsqueueError
from osqueue.job import (
    Attempt,
    AttemptOutcome,
    ClaimedJob,
    Job,
    JobError,
    JobFilter,
    Position,
    Progress,
    RetryPolicy,
)
from osqueue.messages import Change, Counts, JobEvent, JobSpec, Rates, Resync, Selection, Stats, TypeStats, WatchFrame
from osqueue.transports.grpc_errors import from_item_error
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_OUTCOMES: Mapping[int, AttemptOutcome] = {
    job_pb2.ATTEMPT_OUTCOME_UNSPECIFIED: "running",
    job_pb2.ATTEMPT_OUTCOME_COMPLETED: "completed",
    job_pb2.ATTEMPT_OUTCOME_FAILED: "failed",
    job_pb2.ATTEMPT_OUTCOME_EXPIRED: "expired",
    job_pb2.ATTEMPT_OUTCOME_TIMED_OUT: "timed_out",
    job_pb2.ATTEMPT_OUTCOME_RELEASED: "released",
    job_pb2.ATTEMPT_OUTCOME_CANCELLED: "cancelled",
}

VIEWS = {"": job_pb2.JOB_VIEW_UNSPECIFIED, "basic": job_pb2.JOB_VIEW_BASIC, "full": job_pb2.JOB_VIEW_FULL}


def add_spec(jobs: Any, spec: JobSpec) -> None:
    """Append the job to a repeated field of SubmitJobRequest."""
    message = jobs.add(payload=spec.payload, type=spec.type)
    if spec.max_attempts is not None:
        message.max_attempts = spec.max_attempts
    if spec.priority:
        message.priority = spec.priority
    if spec.idempotency_key:
        message.idempotency_key = spec.idempotency_key
    if spec.metadata:
        message.metadata.update(spec.metadata)
    if spec.lease_ms:
        message.lease_ms = spec.lease_ms
    if spec.run_at:
        message.run_at = spec.run_at
    if spec.delay_ms:
        message.delay_ms = spec.delay_ms
    if spec.timeout_ms:
        message.timeout_ms = spec.timeout_ms
    if spec.retention_ms is not None:
        message.retention_ms = spec.retention_ms
    if spec.retry_policy is not None:
        policy = spec.retry_policy
        message.retry_policy.initial_ms = policy.initial_ms
        message.retry_policy.multiplier = policy.multiplier
        message.retry_policy.max_ms = policy.max_ms
        message.retry_policy.jitter = policy.jitter


def commit_of(answer: Any) -> Position | None:
    """Where the answer's changes are durable."""
    if not answer.HasField("commit"):
        return None
    return Position(answer.commit.epoch, answer.commit.sequence)


def position_of(answer: Any) -> Position | None:
    """The durable state that the answer shows."""
    if not answer.HasField("position"):
        return None
    return Position(answer.position.epoch, answer.position.sequence)


def claimed_job(message: job_pb2.ClaimedJob, worker_id: str) -> ClaimedJob:
    """A leased job."""
    return ClaimedJob(
        message.job_id,
        worker_id,
        message.payload,
        message.type,
        message.lease_token,
        message.attempt,
        message.lease_expires_at,
        dict(message.metadata) if message.metadata else {},
        message.priority,
        message.timeout_ms,
        message.max_attempts,
        message.created_at,
        message.lease_ms,
        message.cancel_requested,
    )


def job_error(message: Any) -> JobError | None:
    """The error of a message that may have one."""
    return JobError(message.error.type, message.error.message) if message.HasField("error") else None


def progress_of(message: Any) -> Progress | None:
    """The progress of a message that may have one."""
    if not message.HasField("progress"):
        return None
    return Progress(message.progress.fraction, message.progress.message, message.progress.updated_at)


def job(message: job_pb2.JobInfo) -> Job:
    """A job as the queue knows it."""
    return Job(
        id=message.id,
        status=message.status,  # type: ignore[arg-type]  # a closed set on the wire as well
        payload=message.payload,
        type=message.type,
        worker_id=message.worker_id,
        created_at=message.created_at,
        attempts=message.attempts,
        max_attempts=message.max_attempts,
        heartbeat=message.heartbeat,
        priority=message.priority,
        run_at=message.run_at,
        lease_ms=message.lease_ms,
        timeout_ms=message.timeout_ms,
        retry_policy=_retry_policy(message.retry_policy) if message.HasField("retry_policy") else None,
        metadata=dict(message.metadata),
        retention_ms=message.retention_ms if message.HasField("retention_ms") else None,
        idempotency_key=message.idempotency_key,
        result=message.result if message.HasField("result") else None,
        finished_at=message.finished_at,
        progress=progress_of(message),
        cancel_requested=message.cancel_requested,
        lease_expires_at=message.lease_expires_at,
        history=[_attempt(attempt) for attempt in message.history],
        attempt_number=message.attempt_number,
        error=job_error(message),
        payload_bytes=message.payload_bytes,
        result_bytes=message.result_bytes,
        claimed_at=message.claimed_at,
        effective_max_attempts=message.effective_max_attempts,
    )


def job_filter(found: JobFilter) -> job_pb2.JobFilter:
    """Which jobs."""
    return job_pb2.JobFilter(
        statuses=found.statuses,
        types=found.types,
        worker_id=found.worker_id,
        created_from=found.created_from,
        created_before=found.created_before,
        metadata=found.metadata,
        error_type=found.error_type,
    )


def selection(request: Any, wanted: Selection) -> Any:
    """Fill a CancelJobsRequest or RetryJobsRequest."""
    request.job_ids.extend(wanted.job_ids)
    if wanted.filter is not None:
        request.filter.CopyFrom(job_filter(wanted.filter))
    request.dry_run = wanted.dry_run
    request.page_token = wanted.page_token
    request.request_id = wanted.request_id
    return request


def change(result: Any, outcome: str) -> Change:
    """What became of one selected job; `outcome` names the field of success."""
    if result.WhichOneof("outcome") == "error":
        return Change(result.job_id, error=from_item_error(result.error))
    done = getattr(result, outcome)
    return Change(result.job_id, done.status, getattr(done, "cancel_requested", False))


def item_errors(results: Any, success: str) -> list[OsqueueError | None]:
    """None for each result that has `success`, the error for the others."""
    return [None if result.HasField(success) else from_item_error(result.error) for result in results]


def stats(message: queue_pb2.GetStatsResponse) -> Stats:
    """The statistics."""
    return Stats(
        counts=_counts(message.counts),
        broker_address=message.broker_address,
        types=[
            TypeStats(
                found.type,
                _counts(found.counts),
                found.paused,
                found.oldest_ready_age_ms,
                _rates(found.rates),
                found.workers,
            )
            for found in message.types
        ],
        oldest_ready_age_ms=message.oldest_ready_age_ms,
        rates=_rates(message.rates),
        bytes=message.bytes,
        position=position_of(message),
        commit_lag_ms=message.position.commit_lag_ms,
    )


def watch_frame(message: queue_pb2.WatchJobsResponse) -> WatchFrame:
    """What happened."""
    resync = None
    if message.HasField("resync"):
        resync = Resync(_word(queue_pb2.ResyncReason, "RESYNC_REASON_", message.resync.reason), message.resync.message)
    return WatchFrame(
        events=[_event(event) for event in message.events],
        stats=stats(message.stats) if message.HasField("stats") else None,
        resync=resync,
        position=position_of(message),
    )


def explain_reason(number: int) -> str:
    """One reason for a job's not running, as a word."""
    return _word(queue_pb2.ExplainReason, "EXPLAIN_REASON_", number)


def _word(enum: Any, prefix: str, number: int) -> str:
    """The enum's value as a lower-case word; its number for one that a newer broker knows."""
    if number not in enum.values():
        return str(number)
    return str(enum.Name(number)).removeprefix(prefix).lower()


def _event(message: queue_pb2.JobEvent) -> JobEvent:
    return JobEvent(
        kind=_word(queue_pb2.JobEventKind, "JOB_EVENT_KIND_", message.kind),
        job_id=message.job_id,
        type=message.type,
        status=message.status,
        worker_id=message.worker_id,
        attempt=message.attempt,
        at=message.at,
        error=job_error(message),
        progress=progress_of(message),
        run_at=message.run_at,
    )


def _attempt(message: job_pb2.Attempt) -> Attempt:
    return Attempt(
        message.number,
        message.worker_id,
        message.started_at,
        message.ended_at,
        _OUTCOMES.get(message.outcome, "failed"),
        job_error(message),
    )


def _retry_policy(message: job_pb2.RetryPolicy) -> RetryPolicy:
    policy = RetryPolicy(message.initial_ms, jitter=message.jitter)
    if message.HasField("multiplier"):
        policy = replace(policy, multiplier=message.multiplier)
    return replace(policy, max_ms=message.max_ms) if message.HasField("max_ms") else policy


def _counts(message: job_pb2.JobCounts) -> Counts:
    return Counts(
        total=message.total,
        unclaimed=message.unclaimed,
        scheduled=message.scheduled,
        in_progress=message.in_progress,
        dead=message.dead,
        cancelled=message.cancelled,
        completed=message.completed,
        submitted_total=message.submitted_total,
        completed_total=message.completed_total,
        dead_total=message.dead_total,
        cancelled_total=message.cancelled_total,
        purged_total=message.purged_total,
        evicted_total=message.evicted_total,
    )


def _rates(message: queue_pb2.Rates) -> Rates:
    return Rates(message.window_ms, message.submitted, message.claimed, message.completed, message.failed)

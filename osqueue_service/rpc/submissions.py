"""SubmitJob messages, checked and turned into job specs."""

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import (
    TypeNames,
    check_bytes,
    check_duration,
    check_finite,
    check_fraction,
    check_name,
    check_number,
    read_labels,
)
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.model import JobSpec, RetryPolicy
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_DEFAULT_MULTIPLIER = 2.0
_DEFAULT_MAX_MS = 3_600_000


class SubmissionReader:
    """Reads what producers send. Batches pass here, so every line of `read` costs each job of each batch."""

    def __init__(self, limits: Limits, types: TypeNames) -> None:
        self._limits = limits
        self._types = types

    def read(self, job: queue_pb2.SubmitJobRequest, now_ms: int, wrong: Violations) -> JobSpec:
        """The job as the queue keeps it; meaningless if anything was wrong. `now_ms` is queue time."""
        limits = self._limits
        payload = job.payload
        if not payload:
            wrong.add("payload", "is required")
        elif len(payload) > limits.payload_bytes:
            check_bytes(len(payload), "payload", limits.payload_bytes, "payload_bytes", wrong)
        priority = job.priority
        if priority:
            check_number(priority, "priority", -limits.priority_max, limits.priority_max, wrong)
        max_attempts = 0
        if job.HasField("max_attempts"):
            max_attempts = job.max_attempts
            check_number(max_attempts, "max_attempts", 1, limits.max_attempts, wrong)
        lease_ms = job.lease_ms
        if lease_ms:
            check_duration(lease_ms, "lease_ms", limits.lease_ms_min, limits.lease_ms_max, "the default", wrong)
        timeout_ms = job.timeout_ms
        if timeout_ms:
            check_duration(timeout_ms, "timeout_ms", 1, limits.timeout_ms_max, "no limit", wrong)
        run_at, delay_ms = job.run_at, job.delay_ms
        if run_at or delay_ms:
            run_at = self._run_at(run_at, delay_ms, now_ms, wrong)
        key = job.idempotency_key
        if key:
            check_name(key, "idempotency_key", limits.id_chars, wrong)
        retention_ms = 0
        if job.HasField("retention_ms"):
            retention_ms = job.retention_ms
            check_number(retention_ms, "retention_ms", 0, limits.retention_ms_max, wrong, " ms")
        return JobSpec(
            self._types.read(job.type, "type", wrong),
            payload,
            priority,
            max_attempts,
            run_at,
            lease_ms,
            timeout_ms,
            retention_ms,
            key,
            self._retry(job.retry_policy, wrong) if job.HasField("retry_policy") else None,
            read_labels(job.metadata, "metadata", limits.metadata_bytes, wrong),
        )

    def _run_at(self, run_at: int, delay_ms: int, now_ms: int, wrong: Violations) -> int:
        """When the job may first be claimed; 0 when that is already the case."""
        delay_ms_max = self._limits.delay_ms_max
        if run_at and delay_ms:
            wrong.add("run_at", "is set together with delay_ms; set one of them")
        elif delay_ms:
            check_number(delay_ms, "delay_ms", 0, delay_ms_max, wrong, " ms")
            return now_ms + delay_ms
        elif run_at < 0:
            wrong.add("run_at", f"is {run_at}; it must be milliseconds since 1970-01-01 UTC")
        elif run_at > now_ms + delay_ms_max:
            wrong.add("run_at", f"is {run_at}; it must be at most {delay_ms_max:,} ms ahead (delay_ms_max)")
        return run_at if run_at > now_ms else 0

    def _retry(self, policy: job_pb2.RetryPolicy, wrong: Violations) -> RetryPolicy:
        limits = self._limits
        initial_ms = policy.initial_ms
        check_number(initial_ms, "retry_policy.initial_ms", 0, limits.delay_ms_max, wrong, " ms")
        multiplier = policy.multiplier if policy.HasField("multiplier") else _DEFAULT_MULTIPLIER
        check_finite(multiplier, "retry_policy.multiplier", 1, limits.retry_multiplier_max, wrong)
        max_ms = max(initial_ms, _DEFAULT_MAX_MS)
        if policy.HasField("max_ms"):
            max_ms = policy.max_ms
            check_number(max_ms, "retry_policy.max_ms", max(initial_ms, 0), limits.delay_ms_max, wrong, " ms")
        check_fraction(policy.jitter, "retry_policy.jitter", wrong)
        return RetryPolicy(initial_ms, multiplier, max_ms, policy.jitter)


def size_of(specs: "list[JobSpec]") -> int:
    """Bytes that a call's jobs take in the inbox: their payloads, which are nearly all of it."""
    return sum([len(spec.payload) for spec in specs])

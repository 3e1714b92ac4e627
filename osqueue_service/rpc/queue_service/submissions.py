"""SubmitJob, SubmitJobs."""

from collections.abc import Callable
from typing import Any, cast

from osqueue_protocol.rights import EVERYTHING
from osqueue_service.errors import OsqueueError
from osqueue_service.limits import Limits
from osqueue_service.rpc.access.checks import check_submit
from osqueue_service.rpc.access.principal import caller
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import (
    TypeNames,
    Violations,
    check_bytes,
    check_count,
    check_duration,
    check_finite,
    check_fraction,
    check_name,
    check_number,
    read_labels,
    shown,
)
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.limit_uses import check_fairness_key, read_uses
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.status import item_error
from osqueue_service.rpc.uniqueness import OUTCOMES, read_sequence, read_unique
from osqueue_service.state.commands import Submit, SubmitAnswer
from osqueue_service.state.model import JobSpec, MoreOfSpec, RetryPolicy
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_DEFAULT_MULTIPLIER = 2.0
_DEFAULT_MAX_MS = 3_600_000


class Submissions:
    """Serves SubmitJob and SubmitJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = SubmissionReader(broker.limits, types, numbers_of(broker))

    async def SubmitJob(self, request: queue_pb2.SubmitJobRequest, context: Context) -> queue_pb2.SubmitJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        spec = self._reader.read(request, engine.now_ms(), wrong)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        (answer,) = await engine.execute(Submit([spec], True, request.request_id), _size_of([spec]))
        return queue_pb2.SubmitJobResponse(
            job_id=answer.job_id,
            deduplicated=answer.deduplicated,
            commit=commit_position(engine),
            outcome=OUTCOMES[answer.outcome],
        )

    async def SubmitJobs(self, request: queue_pb2.SubmitJobsRequest, context: Context) -> queue_pb2.SubmitJobsResponse:
        engine = self._broker.engine
        atomic = request.atomic if request.HasField("atomic") else True
        wrong = Violations("jobs")
        check_count(len(request.jobs), "jobs", self._limits.batch_items, "batch_items", wrong, least=1)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        refused: dict[int, OsqueueError] = {}
        if atomic:
            specs = self._read_all(request, engine.now_ms(), wrong)
        else:
            specs, refused = self._read_each(request, engine.now_ms())
        answers: list[SubmitAnswer | OsqueueError] = []
        if specs:
            answers = await engine.execute(Submit(specs, atomic, request.request_id), _size_of(specs))
        response = _results(answers, refused)
        if any(isinstance(answer, SubmitAnswer) for answer in answers):
            response.commit.CopyFrom(commit_position(engine))
        return response

    def _read_all(self, request: queue_pb2.SubmitJobsRequest, now_ms: int, wrong: Violations) -> list[JobSpec]:
        """All jobs; or the refusal of the call, which names what is wrong with any of them."""
        read = self._reader.read
        specs = []
        for wrong.index, job in enumerate(request.jobs):
            specs.append(read(job, now_ms, wrong))
            if job.request_id:
                _say_request_id(wrong)
        wrong.check()
        return specs

    def _read_each(
        self, request: queue_pb2.SubmitJobsRequest, now_ms: int
    ) -> tuple[list[JobSpec], dict[int, OsqueueError]]:
        """The good jobs, and what is wrong with each of the others by position."""
        read = self._reader.read
        wrong = Violations()
        specs: list[JobSpec] = []
        refused: dict[int, OsqueueError] = {}
        for position, job in enumerate(request.jobs):
            spec = read(job, now_ms, wrong)
            if job.request_id:
                _say_request_id(wrong)
            if wrong:
                refused[position] = wrong.refusal()
            else:
                specs.append(spec)
        return specs, refused


NumberOf = Callable[[str], int | None]
"""Gives the number behind a public id of the queue."""


def numbers_of(broker: Broker) -> NumberOf:
    """The numbers behind the ids of the queue that this broker leads."""
    return lambda public_id: broker.engine.views.number_of(public_id)


class SubmissionReader:
    """Reads what producers send. Batches pass here, so every line of `read` costs each job of each batch."""

    def __init__(self, limits: Limits, types: TypeNames, number_of: NumberOf = lambda _: None) -> None:
        self._limits = limits
        self._types = types
        self._number_of = number_of

    def read(self, job: "queue_pb2.SubmitJobRequest | _AsRequest", now_ms: int, wrong: Violations) -> JobSpec:
        """The job as the queue keeps it; meaningless if anything was wrong. `now_ms` is queue time."""
        limits = self._limits
        type_name = job.type
        if caller().rights is not EVERYTHING:
            check_submit(type_name, wrong)
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
        else:
            timeout_ms = limits.default_timeout_ms
        run_at, delay_ms = job.run_at, job.delay_ms
        if run_at or delay_ms:
            run_at = self._run_at(run_at, delay_ms, now_ms, wrong)
        key = job.idempotency_key
        if key:
            check_name(key, "idempotency_key", limits.id_chars, wrong)
        unusual = job.limits or job.fairness_key or job.sequence_key or job.batch_id
        unusual = unusual or job.HasField("unique") or job.HasField("submit_on_dead")
        if job.sequence_after_dead and not job.sequence_key:
            wrong.add("sequence_after_dead", "goes with a sequence_key")
        retention_ms = 0
        if job.HasField("retention_ms"):
            retention_ms = job.retention_ms
            check_number(retention_ms, "retention_ms", 0, limits.retention_ms_max, wrong, " ms")
        return JobSpec(
            self._types.read(type_name, "type", wrong),
            payload,
            priority,
            max_attempts,
            run_at,
            lease_ms,
            timeout_ms,
            retention_ms,
            key,
            self._retry(job.retry_policy, wrong) if job.HasField("retry_policy") else None,
            read_labels(job.metadata, "metadata", limits.metadata_bytes, wrong) if job.metadata else None,
            self._more(job, run_at, now_ms, wrong) if unusual else None,
        )

    def _more(
        self, job: "queue_pb2.SubmitJobRequest | _AsRequest", run_at: int, now_ms: int, wrong: Violations
    ) -> MoreOfSpec:
        """What few jobs ask for."""
        on_dead = self._on_dead(job.submit_on_dead, wrong) if job.HasField("submit_on_dead") else None
        unique = None
        if job.HasField("unique"):
            unique = read_unique(job.unique, max(0, run_at - now_ms), self._limits, wrong)
        sequence = None
        if job.sequence_key:
            sequence = read_sequence(job.sequence_key, job.sequence_after_dead, self._limits, wrong)
        limits = read_uses(job.limits, self._limits, wrong) if job.limits else ()
        check_fairness_key(job.fairness_key, "fairness_key", self._limits, wrong)
        batch = self.batch(job.batch_id, "batch_id", wrong) if job.batch_id else 0
        if batch and unique is not None and not unique.keeps:
            wrong.add(
                "unique",
                "may take the place of a job that is not in the batch: with batch_id, on_conflict and if_running "
                "may be KEEP or REJECT",
            )
        return MoreOfSpec(
            on_dead=on_dead,
            limits=limits,
            unique=unique,
            sequence=sequence,
            fairness_key=job.fairness_key,
            batch=batch,
        )

    def batch(self, batch_id: str, field: str, wrong: Violations) -> int:
        """The number of a batch, which need not be there."""
        check_name(batch_id, field, self._limits.id_chars, wrong)
        number = self._number_of(batch_id)
        if number is None:
            wrong.add(field, f"is {shown(batch_id)}, which is not the id of a batch of this queue")
        return number or 0

    def template(self, template: job_pb2.JobTemplate, wrong: Violations) -> JobSpec:
        """A job that the broker is to submit by itself: it is checked like one that is submitted now."""
        return self.read(_AsRequest(template), 0, wrong)

    def _on_dead(self, template: job_pb2.JobTemplate, wrong: Violations) -> JobSpec:
        outer, wrong.part = wrong.part, f"{wrong.part}submit_on_dead."
        spec = self.template(template, wrong)
        wrong.part = outer
        return spec

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


class _AsRequest:
    """A template, read as a request that leaves what a template does not have at its default."""

    _REST = queue_pb2.SubmitJobRequest()

    def __init__(self, template: job_pb2.JobTemplate) -> None:
        self._template = template

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template if name in _OF_TEMPLATES else self._REST, name)

    def HasField(self, name: str) -> bool:
        return name in _OF_TEMPLATES and self._template.HasField(cast(Any, name))


_OF_TEMPLATES = frozenset(job_pb2.JobTemplate.DESCRIPTOR.fields_by_name)


def _say_request_id(wrong: Violations) -> None:
    wrong.add("request_id", "is set inside a batch; the batch has its own, or give the job an idempotency_key")


def _results(
    answers: list[SubmitAnswer | OsqueueError], refused: dict[int, OsqueueError]
) -> queue_pb2.SubmitJobsResponse:
    """One result per job: the answers in order, at the positions that were not refused before."""
    response = queue_pb2.SubmitJobsResponse()
    add = response.results.add
    left = iter(answers)
    for position in range(len(answers) + len(refused)):
        answer = refused[position] if position in refused else next(left)
        if isinstance(answer, OsqueueError):
            add().error.CopyFrom(item_error(answer))
        else:
            submitted = add().submitted
            submitted.job_id = answer.job_id
            if answer.deduplicated:
                submitted.deduplicated = True
            if answer.outcome:
                submitted.outcome = OUTCOMES[answer.outcome]
    return response


def _size_of(specs: "list[JobSpec]") -> int:
    """Bytes that a call's jobs take in the inbox: their payloads, which are nearly all of it."""
    return sum([len(spec.payload) if spec.more is None else spec.size for spec in specs])

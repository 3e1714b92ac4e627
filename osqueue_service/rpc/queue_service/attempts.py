"""What workers say of the attempts they hold, checked and turned into commands: heartbeats, completions, failures and
releases, each in a message of its own or in frames of a Work stream."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import (
    TypeNames,
    Violations,
    check_bytes,
    check_count,
    check_fraction,
    check_name,
    check_number,
    check_printable,
    check_text,
)
from osqueue_service.rpc.limit_uses import read_report
from osqueue_service.rpc.queue_service.submissions import NumberOf, SubmissionReader
from osqueue_service.state.commands import CompleteItem, FailItem, ReleaseItem
from osqueue_service.state.model import JobSpec
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2


class Renewal(Struct, frozen=True, gc=False):
    """One heartbeat: the lease, how far the job has come, and for how long its handler has run, if the worker said."""

    job_id: str
    worker_id: str
    token: str
    progress: tuple[float, str] | None = None
    running_ms: int | None = None


class _Holder(Protocol):
    """What every message about a lease has."""

    @property
    def job_id(self) -> str: ...
    @property
    def worker_id(self) -> str: ...
    @property
    def lease_token(self) -> str: ...


class AttemptReader:
    """Reads what workers say of their attempts."""

    def __init__(self, limits: Limits, number_of: NumberOf = lambda _: None) -> None:
        self._limits = limits
        self._submissions = SubmissionReader(limits, TypeNames(limits.type_chars), number_of)

    def renewal(self, request: queue_pb2.HeartbeatRequest, wrong: Violations) -> Renewal:
        """A heartbeat."""
        job_id, worker_id, token = self._holder(request, wrong)
        progress = None
        if request.HasField("progress"):
            progress = (request.progress.fraction, request.progress.message)
            check_fraction(progress[0], "progress.fraction", wrong)
            check_text(
                progress[1], "progress.message", self._limits.progress_message_bytes, "progress_message_bytes", wrong
            )
        running_ms = None
        if request.HasField("running_ms"):
            running_ms = request.running_ms
            if running_ms < 0:
                wrong.add("running_ms", f"is {running_ms}; it is for how long the handler has run, 0 before it begins")
        return Renewal(job_id, worker_id, token, progress, running_ms)

    def completion(self, request: queue_pb2.CompleteJobRequest, wrong: Violations, now_ms: int = 0) -> CompleteItem:
        """An attempt that succeeded, and what follows it. `now_ms` is queue time."""
        job_id, worker_id, token = self._holder(request, wrong)
        result = None
        if request.HasField("result"):
            result = request.result
            check_bytes(len(result), "result", self._limits.result_bytes, "result_bytes", wrong)
        follow_ups = self._follow_ups(request, now_ms, wrong) if request.follow_ups else ()
        report = read_report(request, self._limits, wrong) if request.usage or request.limit_backoff else None
        return CompleteItem(job_id, worker_id, token, result, follow_ups, report)

    def _follow_ups(self, request: queue_pb2.CompleteJobRequest, now_ms: int, wrong: Violations) -> list[JobSpec]:
        """The jobs that are to follow a completion."""
        check_count(len(request.follow_ups), "follow_ups", self._limits.follow_ups, "follow_ups", wrong)
        specs, outer = [], wrong.part
        for position, job in enumerate(request.follow_ups):
            wrong.part = f"{outer}follow_ups[{position}]."
            specs.append(self._submissions.read(job, now_ms, wrong))
            if job.request_id:
                wrong.add("request_id", "is set in a follow-up, which its job's lease names across retries")
            if job.HasField("unique"):
                wrong.add(
                    "unique", "is set in a follow-up, which cannot be refused or put off; submit such a job by itself"
                )
        wrong.part = outer
        return specs

    def check_follow_ups(self, completions: Iterable[CompleteItem], wrong: Violations) -> None:
        """How many follow-ups the completions of one call have together."""
        count = sum([len(completion.follow_ups) for completion in completions])
        check_count(count, "completions.follow_ups", self._limits.batch_items, "batch_items", wrong)

    def failure(self, request: queue_pb2.FailJobRequest, jitter: float, wrong: Violations) -> FailItem:
        """An attempt that failed."""
        limits = self._limits
        job_id, worker_id, token = self._holder(request, wrong)
        error: job_pb2.JobError = request.error
        check_text(error.type, "error.type", limits.error_type_bytes, "error_type_bytes", wrong)
        check_printable(error.type, "error.type", wrong)
        check_text(error.message, "error.message", limits.error_message_bytes, "error_message_bytes", wrong)
        retry_delay_ms = -1
        if request.HasField("retry_delay_ms"):
            retry_delay_ms = request.retry_delay_ms
            check_number(retry_delay_ms, "retry_delay_ms", 0, limits.delay_ms_max, wrong, " ms")
        return FailItem(
            job_id,
            worker_id,
            token,
            error.type,
            error.message,
            request.retryable if request.HasField("retryable") else True,
            retry_delay_ms,
            jitter,
            read_report(request, limits, wrong) if request.usage or request.limit_backoff else None,
        )

    def release(self, request: queue_pb2.ReleaseJobRequest, wrong: Violations) -> ReleaseItem:
        """A job given back."""
        job_id, worker_id, token = self._holder(request, wrong)
        report = read_report(request, self._limits, wrong) if request.usage or request.limit_backoff else None
        return ReleaseItem(job_id, worker_id, token, report)

    def _holder(self, request: _Holder, wrong: Violations) -> tuple[str, str, str]:
        """Which job, who speaks of it, and the token that proves it. Inlined, because completions and heartbeats come
        by the hundred; handed back, because each look into a message costs as much as a check."""
        chars_max = self._limits.id_chars
        job_id, worker_id, token = request.job_id, request.worker_id, request.lease_token
        if not job_id or len(job_id) > chars_max or not job_id.isprintable():
            check_name(job_id, "job_id", chars_max, wrong, required=True)
        if not worker_id or len(worker_id) > chars_max or not worker_id.isprintable():
            check_name(worker_id, "worker_id", chars_max, wrong, required=True)
        if token and (len(token) > chars_max or not token.isprintable()):
            check_name(token, "lease_token", chars_max, wrong)
        return job_id, worker_id, token

    def request_id(self, request_id: str, wrong: Violations) -> None:
        """The token makes a repetition harmless; the id is checked so that a bad one is noticed early."""
        if request_id:
            check_name(request_id, "request_id", self._limits.id_chars, wrong)

    def batch(self, count: int, field: str, request_id: str = "") -> None:
        """A call for many attempts at once: raises for one that has none, or too many."""
        wrong = Violations()
        check_count(count, field, self._limits.batch_items, "batch_items", wrong, least=1)
        self.request_id(request_id, wrong)
        wrong.check()

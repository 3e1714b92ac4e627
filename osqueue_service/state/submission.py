"""Deciding a submission: which of its jobs are new, which are known, and whether there is room."""

from collections.abc import Sequence

from msgspec.structs import replace

from osqueue_service.errors import IdempotencyConflict, OsqueueError, QueueFull, kept
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Submit, SubmitAnswer
from osqueue_service.state.limiting import Newest, with_limits
from osqueue_service.state.model import JobSpec, fingerprint, fingerprint_of_call
from osqueue_service.state.records import AnyRecord, Cancelled, Submitted
from osqueue_service.state.state import State

SubmitAnswers = list[SubmitAnswer | OsqueueError]


def decide_submit(state: State, command: Submit, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], SubmitAnswers]:
    """New jobs become one `Submitted` record; a repeated call becomes none and answers as it did."""
    earlier, call_print = _earlier(state, command, now_ms)
    admission = Admission(state, now_ms, limits)
    answers: SubmitAnswers = []
    for spec, number in zip(command.jobs, earlier, strict=True):
        if number != REFUSED:
            answers.append(admission.repeat(number))
            continue
        try:
            answers.append(admission.admit(spec))
        except OsqueueError as error:
            if command.atomic:
                raise
            admission.numbers.append(REFUSED)
            answers.append(kept(error))
    if not admission.new and not (command.request_id and admission.deduplicated):
        return [], answers
    record = Submitted(
        first=state.next_number,
        jobs=admission.new,
        key_ttl_ms=limits.idempotency_ttl_ms,
        deduplicated=admission.deduplicated,
        request=command.request_id,
        request_ttl_ms=limits.request_ttl_ms if command.request_id else 0,
        fingerprint=call_print,
        numbers=tuple(admission.numbers) if command.request_id and len(admission.new) < len(command.jobs) else (),
    )
    records: list[AnyRecord] = [record]
    if admission.gone:
        records.append(Cancelled(admission.gone, limits.default_retention_ms))
    return records, answers


REFUSED = 0
"""Stands for an item that was not accepted among the numbers that a call is remembered with."""


def _earlier(state: State, command: Submit, now_ms: int) -> tuple[Sequence[int], bytes]:
    """What an earlier execution of this call answered, and the call's fingerprint. Items that were refused then
    get another try."""
    nothing = (REFUSED,) * len(command.jobs)
    if not command.request_id:
        return nothing, b""
    call_print = fingerprint_of_call(command.jobs)
    known = state.requests.get(command.request_id, now_ms)
    if known is None:
        return nothing, call_print
    if known.fingerprint != call_print:
        raise IdempotencyConflict(
            f"request_id {command.request_id!r} was used within the last 10 minutes for a call with other jobs: "
            "draw a new request_id for every new call"
        )
    return known.numbers or range(known.first, known.first + known.count), call_print


class Admission:
    """Admits the jobs of one call one by one; each sees those before it. `own`: the queue makes them by itself, so no
    named limit refuses or cancels one."""

    def __init__(self, state: State, now_ms: int, limits: Limits, *, own: bool = False) -> None:
        self._own = own
        self._state = state
        self._now_ms = now_ms
        self._limits = limits
        self._bytes = state.live_bytes
        self._promised = state.promised_jobs
        self._room = limits.jobs - state.live - state.reserved_jobs
        self._id_of = state.ids.of
        self._keys: dict[str, tuple[int, bytes]] = {}
        self._waiting: dict[tuple[str, str], int] = {}
        self.new: list[JobSpec] = []
        self.numbers: list[int] = []
        self.gone: list[int] = []
        self.deduplicated = 0
        self._newest = Newest(state, now_ms)

    def take(self, spec: JobSpec) -> int:
        """The number of a new job that has no key; raises what refuses it."""
        self._check_room(spec)
        number = self._state.next_number + len(self.new)
        self.new.append(spec)
        return number

    def repeat(self, number: int) -> SubmitAnswer:
        """An item that an earlier execution of the call accepted."""
        self.numbers.append(number)
        return SubmitAnswer(public_id(self._state, abs(number)), deduplicated=number < 0)

    def admit(self, spec: JobSpec) -> SubmitAnswer:
        """A new job, or the one its key stands for; raises what refuses it."""
        if spec.idempotency_key:
            known = self._known(spec)
            if known is not None:
                self.deduplicated += 1
                self.numbers.append(-known)
                return SubmitAnswer(public_id(self._state, known), deduplicated=True)
        if self._own:
            spec = self._state.limits.attach(spec)
        elif spec.more is not None or self._state.limits.families:
            spec = self._limited(spec)
        self._check_room(spec)
        number = self._state.next_number + len(self.new)
        if not self._own and self._has_to_go(spec):
            self.gone.append(number)
            if spec.idempotency_key:  # it stands for nothing: the same key may be tried again
                self._forget(spec)
                spec = replace(spec, idempotency_key="")
        self.new.append(spec)
        self.numbers.append(number)
        return SubmitAnswer(self._id_of(number))

    def _known(self, spec: JobSpec) -> int | None:
        """The number of the job that the key stands for already; a key seen first is noted."""
        key = spec.idempotency_key
        content = fingerprint(spec)
        entry = self._state.keys.get(key, self._now_ms)
        found = (entry.number, entry.fingerprint) if entry else self._keys.get(key)
        if found is not None:
            number, known_content = found
            if known_content != content:
                raise IdempotencyConflict(
                    f"idempotency_key {key!r} stands for job {public_id(self._state, number)}, which has another "
                    "type or payload: use a new key, or send exactly the same job"
                )
            return number
        if len(self._state.keys) + len(self._keys) >= self._limits.idempotency_keys:
            raise QueueFull(
                f"{self._limits.idempotency_keys} idempotency keys are remembered, which is the limit "
                "(idempotency_keys): submit without a key, or wait until the oldest are 24 hours old",
                retry_after_ms=60_000,
            )
        self._keys[key] = (self._state.next_number + len(self.new), content)
        return None

    def _has_to_go(self, spec: JobSpec) -> bool:
        if spec.more is None or not spec.more.limits or spec.run_at > self._now_ms:
            return False
        return self._newest.has_to_go(spec)

    def _limited(self, spec: JobSpec) -> JobSpec:
        """The job under its limits; refused where one of their keys has as many waiting as may."""
        try:
            spec = with_limits(self._state, spec, self._limits)
            for use in spec.limits:
                limit = self._state.limits.get(use.limit)
                if limit is None or not limit.max_waiting:
                    continue
                known = self._state.limits.known(use.limit, use.key)
                waiting = (known.waiting if known is not None else 0) + self._waiting.get((use.limit, use.key), 0)
                if waiting >= limit.max_waiting:
                    raise QueueFull(
                        f"{waiting:,} jobs of the key {use.key!r} of the limit {use.limit!r} wait, which is as many as "
                        "may (max_waiting_per_key): try again later",
                        retry_after_ms=1_000,
                    )
        except OsqueueError:
            self._forget(spec)
            raise
        for use in spec.limits:
            self._waiting[use.limit, use.key] = self._waiting.get((use.limit, use.key), 0) + 1
        return spec

    def _check_room(self, spec: JobSpec) -> None:
        limits = self._limits
        # What it asks for in case of its death has a place from now on.
        takes = 1 if spec.more is None or spec.more.on_dead is None else 2
        if takes > self._room:
            self._forget(spec)
            raise QueueFull(
                f"the queue holds {limits.jobs} live jobs, which is its limit (jobs): let workers catch up and try "
                "again, or raise the limit",
                retry_after_ms=1_000,
            )
        size = spec.size
        if self._bytes + size > limits.bytes:
            self._forget(spec)
            raise QueueFull(
                f"the live jobs would take more than {limits.bytes} bytes, which is the limit (bytes): let workers "
                "catch up and try again, or raise the limit",
                retry_after_ms=1_000,
            )
        if spec.retention_ms:
            full = self._promised >= limits.promised_jobs or self._state.promised_bytes >= limits.promised_bytes
            if full:
                self._forget(spec)
                raise QueueFull(
                    f"{limits.promised_jobs} jobs or {limits.promised_bytes} bytes with an explicit retention_ms are "
                    "kept, which is the limit (promised_jobs, promised_bytes): submit without retention_ms, or wait",
                    retry_after_ms=60_000,
                )
            self._promised += 1
        self._room -= takes
        self._bytes += size

    def _forget(self, spec: JobSpec) -> None:
        """The job is refused after all: its key is free again."""
        self._keys.pop(spec.idempotency_key, None)


def public_id(state: State, number: int) -> str:
    """The id of a job by its number, whether it is still kept or not."""
    job = state.jobs.get(number)
    return state.job_id(job) if job is not None else state.id_of_number(number)

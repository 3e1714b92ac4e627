"""Deciding a submission: which of its jobs are new, which are known, and whether there is room."""

from collections.abc import Sequence

from msgspec.structs import replace

from osqueue_service.errors import BatchNotFound, IdempotencyConflict, InvalidRequest, OsqueueError, QueueFull, kept
from osqueue_service.limits import Limits
from osqueue_service.state.batches import NOT_FOUND as NO_BATCH
from osqueue_service.state.commands import Submit, SubmitAnswer
from osqueue_service.state.limiting import Newest, with_limits
from osqueue_service.state.model import JobSpec, MoreOfSpec, fingerprint, fingerprint_of_call
from osqueue_service.state.placement import held_when_dead
from osqueue_service.state.records import (
    AnyRecord,
    Cancelled,
    CancelRequested,
    KeyAnswered,
    KeysAnswered,
    Replaced,
    Submitted,
)
from osqueue_service.state.rivals import Rivals
from osqueue_service.state.state import State
from osqueue_service.state.unique import Outcome, Unique, marked, unmarked

SubmitAnswers = list[SubmitAnswer | OsqueueError]


def decide_submit(
    state: State, command: Submit, now_ms: int, limits: Limits, *, joins: int = 0
) -> tuple[list[AnyRecord], SubmitAnswers]:
    """New jobs become one `Submitted` record; a repeated call becomes none and answers as it did. `joins`: the batch
    that a running member of it adds to."""
    earlier, call_print = _earlier(state, command, now_ms)
    admission = Admission(state, now_ms, limits)
    admission.joins = joins
    answers: SubmitAnswers = []
    if not any(earlier) and admission.take_all(command.jobs):
        return [_submitted(state, command, admission, call_print, limits)], admission.answers()
    for spec, mark in zip(command.jobs, earlier, strict=True):
        if mark != REFUSED:
            answers.append(admission.repeat(spec, mark))
            continue
        try:
            answers.append(admission.admit(spec))
        except OsqueueError as error:
            if command.atomic:
                raise
            admission.numbers.append(REFUSED)
            answers.append(kept(error))
    records: list[AnyRecord] = []
    if admission.new or (command.request_id and admission.met):
        records.append(_submitted(state, command, admission, call_print, limits))
    records += admission.records(limits)
    return records, answers


def _submitted(state: State, command: Submit, admission: "Admission", call_print: bytes, limits: Limits) -> Submitted:
    """The new jobs, and what a repetition of the call will be answered."""
    told = command.request_id and (admission.marked or len(admission.new) < len(command.jobs))
    return Submitted(
        first=state.next_number,
        jobs=admission.new,
        key_ttl_ms=limits.idempotency_ttl_ms,
        deduplicated=admission.deduplicated,
        request=command.request_id,
        request_ttl_ms=limits.request_ttl_ms if command.request_id else 0,
        fingerprint=call_print,
        numbers=tuple(admission.numbers) if told else (),
    )


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
        self._first = state.next_number
        self._id_of = state.ids.of
        self._unlimited = not state.limits.families
        """There is no limit that a job could be under for its type."""
        self._keys: dict[str, tuple[int, bytes]] = {}
        self._waiting: dict[tuple[str, str], int] = {}
        self._rivals: Rivals | None = None
        self.new: list[JobSpec] = []
        self.numbers: list[int] = []
        self.gone: list[int] = []
        self.deduplicated = 0
        self._newest = Newest(state, now_ms)
        self.met = 0
        """Items that came to a job that was there, found out by this execution of the call."""
        self.joins = 0
        """A batch that takes these jobs, sealed as it may be: the caller runs a member of it."""
        self._joining: dict[int, int] = {}
        self.marked = False
        """Some of `numbers` say more than which job it was."""

    def take(self, spec: JobSpec) -> int:
        """The number of a new job that has no key; raises what refuses it."""
        if spec.more is not None and spec.more.batch:
            self._check_batch(spec.more.batch)
        self._check_room(spec)
        number = self._first + len(self.new)
        self.new.append(spec)
        return number

    def take_all(self, specs: Sequence[JobSpec]) -> bool:
        """Take the jobs of a whole call in one step, if none of them has a key, a limit or anything else to be asked
        about and there is room for all; whether it did. Nearly all calls are like this."""
        unusual = [spec for spec in specs if spec.more is not None or spec.idempotency_key or spec.retention_ms]
        if unusual or not specs or not self._unlimited or len(specs) > self._room:
            return False
        if self._bytes + sum([spec.size for spec in specs]) > self._limits.bytes:
            return False
        self.new += specs
        self.numbers += range(self._first, self._first + len(specs))
        return True

    def answers(self) -> SubmitAnswers:
        """What each of the jobs is answered that `take_all` took."""
        id_of = self._id_of
        return [SubmitAnswer(id_of(number)) for number in self.numbers]

    def repeat(self, spec: JobSpec, mark: int) -> SubmitAnswer:
        """An item that an earlier execution of the call accepted."""
        self.numbers.append(mark)
        return self._answer(spec, abs(mark), deduplicated=mark < 0)

    def admit(self, spec: JobSpec) -> SubmitAnswer:
        """A new job, or the one its keys stand for; raises what refuses it."""
        content = b""
        if spec.idempotency_key:
            content = fingerprint(spec)
            known = self._known(spec.idempotency_key, content)
            if known is not None:
                self.deduplicated += 1
                self.met += 1
                self.numbers.append(-known)
                return self._answer(spec, known, deduplicated=True)
        unique = spec.more.unique if spec.more is not None else None
        mark = self._accept(spec) if unique is None else self._accept_among_rivals(spec, unique)
        self.numbers.append(mark)
        # One that has to go at once stands for nothing: its key may be tried again.
        if spec.idempotency_key and not (self.gone and self.gone[-1] == mark):
            self._keys[spec.idempotency_key] = mark, content
        return SubmitAnswer(self._id_of(mark)) if unique is None else self._answer(spec, mark)

    def records(self, limits: Limits) -> list[AnyRecord]:
        """What the call does beside its new jobs."""
        records: list[AnyRecord] = []
        if self.gone:
            records.append(Cancelled(self.gone, limits.default_retention_ms))
        rivals = self._rivals
        if rivals is None:
            return records
        if rivals.replacements:
            first = self._first + len(self.new)
            records.insert(0, Replaced(first, list(rivals.replacements.values())))
        if rivals.stopped:
            records.append(CancelRequested(list(rivals.stopped)))
        answered = [
            KeyAnswered(key, mark, content)
            for key, (mark, content) in self._keys.items()
            if not self._follows_from_the_job(key, mark)
        ]
        if answered:
            records.append(KeysAnswered(answered, limits.idempotency_ttl_ms))
        return records

    def _follows_from_the_job(self, key: str, mark: int) -> bool:
        """Whether the new job itself says that this key of its submission stands for it, and how."""
        number, outcome = unmarked(mark)
        position = number - self._first
        if position < 0 or self.new[position].idempotency_key != key:
            return False
        return outcome in (Outcome.NONE, Outcome.QUEUED_AFTER, Outcome.CANCELLING)

    def _accept(self, spec: JobSpec, *, ready: bool = True) -> int:
        """The number of a new job under its limits. `ready`: no other job holds it up."""
        if self._own:
            spec = self._state.limits.attach(spec)
        elif spec.more is not None or not self._unlimited:
            spec = self._limited(spec)
        number = self.take(spec)
        if ready and not self._own and self._has_to_go(spec):
            self.gone.append(number)
            if spec.idempotency_key:
                self.new[-1] = replace(spec, idempotency_key="")
        return number

    def _accept_among_rivals(self, spec: JobSpec, unique: Unique) -> int:
        """As `_accept`, for a job that asks for a key that another may have; a marked number."""
        if self._rivals is None:
            self._rivals = Rivals(self._state, self._now_ms, self._limits, self.new)
        verdict = self._rivals.judge(spec, unique)
        number = verdict.number
        if verdict.replaces:
            spec = with_limits(self._state, spec, self._limits)
            spec = in_batch_of(spec, self._rivals.spec_of(number))
            self._check_room(spec, self._rivals.spec_of(number))
        elif not number:
            number = self._accept(spec, ready=verdict.outcome is Outcome.CREATED)
        self.met += bool(verdict.number)
        self._rivals.accept(spec, unique, verdict, number)
        self.marked = self.marked or verdict.outcome is not Outcome.CREATED
        return marked(number, verdict.outcome)

    def _answer(self, spec: JobSpec, mark: int, deduplicated: bool = False) -> SubmitAnswer:
        if spec.more is None and mark < self._first + len(self.new):
            return SubmitAnswer(public_id(self._state, mark), deduplicated)
        number, outcome = unmarked(mark)
        if outcome is Outcome.NONE and spec.unique is not None:
            outcome = Outcome.CREATED
        return SubmitAnswer(public_id(self._state, number), deduplicated, outcome)

    def _known(self, key: str, content: bytes) -> int | None:
        """The marked number of the job that the key stands for already."""
        entry = self._state.keys.get(key, self._now_ms)
        found = (entry.number, entry.fingerprint) if entry else self._keys.get(key)
        if found is not None:
            mark, known_content = found
            if known_content != content:
                job_id = public_id(self._state, unmarked(mark)[0])
                raise IdempotencyConflict(
                    f"idempotency_key {key!r} stands for job {job_id}, which was submitted with another type or "
                    "payload: use a new key, or send exactly the same job"
                )
            return mark
        if len(self._state.keys) + len(self._keys) >= self._limits.idempotency_keys:
            raise QueueFull(
                f"{self._limits.idempotency_keys} idempotency keys are remembered, which is the limit "
                "(idempotency_keys): submit without a key, or wait until the oldest are 24 hours old",
                retry_after_ms=60_000,
            )
        return None

    def _has_to_go(self, spec: JobSpec) -> bool:
        if spec.more is None or not spec.more.limits or spec.run_at > self._now_ms:
            return False
        return self._newest.has_to_go(spec)

    def _limited(self, spec: JobSpec) -> JobSpec:
        """The job under its limits; refused where one of their keys has as many waiting as may."""
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
        for use in spec.limits:
            self._waiting[use.limit, use.key] = self._waiting.get((use.limit, use.key), 0) + 1
        return spec

    def _check_batch(self, number: int) -> None:
        joining = self._joining.get(number, 0) + 1
        check_joins(self._state, number, joining, self._limits, running=number == self.joins)
        self._joining[number] = joining

    def _check_room(self, spec: JobSpec, instead: JobSpec | None = None) -> None:
        """Whether there is room for it, `instead` of a job that it replaces, if any."""
        limits = self._limits
        # What it asks for in case of its death has a place from now on.
        takes = 1 if spec.more is None or spec.more.on_dead is None else 2
        if instead is not None:
            takes -= 1 if instead.on_dead is None else 2
        if takes > self._room:
            raise QueueFull(
                f"the queue holds {limits.jobs} live jobs, which is its limit (jobs): let workers catch up and try "
                "again, or raise the limit",
                retry_after_ms=1_000,
            )
        size = spec.size if instead is None else spec.size - instead.size
        if self._bytes + size > limits.bytes:
            raise QueueFull(
                f"the live jobs would take more than {limits.bytes} bytes, which is the limit (bytes): let workers "
                "catch up and try again, or raise the limit",
                retry_after_ms=1_000,
            )
        if spec.retention_ms and not (instead and instead.retention_ms):
            full = self._promised >= limits.promised_jobs or self._state.promised_bytes >= limits.promised_bytes
            if full:
                raise QueueFull(
                    f"{limits.promised_jobs} jobs or {limits.promised_bytes} bytes with an explicit retention_ms are "
                    "kept, which is the limit (promised_jobs, promised_bytes): submit without retention_ms, or wait",
                    retry_after_ms=60_000,
                )
            self._promised += 1
        if spec.more is not None and held_when_dead(spec):
            self._check_held()
        self._room -= takes
        self._bytes += size

    def _check_held(self) -> None:
        """Whoever others may have to wait for when it is dead is admitted only while there is room for such."""
        state, limits = self._state, self._limits
        if state.held_dead >= limits.held_dead or state.held_dead_bytes >= limits.held_dead_bytes:
            raise QueueFull(
                f"{state.held_dead} dead jobs, {state.held_dead_bytes} bytes, hold what others wait for, which is the "
                "limit (held_dead, held_dead_bytes): retry or purge them",
                retry_after_ms=60_000,
            )


def check_joins(
    state: State, number: int, new: int, limits: Limits, *, running: bool = False, field: str = "batch_id"
) -> None:
    """Whether the batch takes this many members more. `running`: a running member adds them, for whom a sealed batch is
    open."""
    batch = state.batches.by_number.get(number)
    if batch is None:
        raise BatchNotFound(NO_BATCH.format(state.id_of_number(number)))
    if batch.cancelled_at:
        raise InvalidRequest.field(field, "is a batch that was cancelled, and takes no more members")
    if batch.finished_at:
        raise InvalidRequest.field(field, "is a batch whose members have all ended, and takes no more: open another")
    if batch.sealed_at and not running:
        raise InvalidRequest.field(
            field, "is a batch that is sealed: only its running members can add to it (AddToBatch, follow-ups)"
        )
    if batch.total + new > limits.batch_members:
        raise QueueFull(
            f"the batch has {batch.total:,} members; at most {limits.batch_members:,} are allowed in all "
            "(batch_members): open another"
        )


def in_batch_of(spec: JobSpec, old: JobSpec) -> JobSpec:
    """A job that takes the place of another, as a member of the batch that the other is a member of."""
    batch = old.more.batch if old.more is not None else 0
    more = spec.more or MoreOfSpec()
    return spec if batch == more.batch else replace(spec, more=replace(more, batch=batch))


def public_id(state: State, number: int) -> str:
    """The id of a job by its number, whether it is still kept or not."""
    job = state.jobs.get(number)
    return state.job_id(job) if job is not None else state.id_of_number(number)

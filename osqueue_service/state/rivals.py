"""Deciding what becomes of a newcomer whose unique key is held: kept out, in the holder's place, or behind it."""

from typing import NamedTuple

from msgspec import structs

from osqueue_service.errors import InvalidRequest, QueueFull, UniqueConflict
from osqueue_service.limits import Limits
from osqueue_service.state.model import BLOCKED, DEAD, IN_PROGRESS, JobSpec
from osqueue_service.state.records import Replacement
from osqueue_service.state.state import State
from osqueue_service.state.unique import IfRunning, OnConflict, Outcome, Unique


class Verdict(NamedTuple):
    """What a newcomer comes to: the job with this `number`, a new one where it is 0. `replaces`: that job is from now
    on what the newcomer asks for. `stops`: the job that is asked to stop for it, or 0."""

    outcome: Outcome
    number: int = 0
    replaces: bool = False
    stops: int = 0


class Rivals:
    """Judges the newcomers of one call in turn: each sees what came of those before it. `new` are its new jobs."""

    def __init__(self, state: State, now_ms: int, limits: Limits, new: list[JobSpec]) -> None:
        self._state = state
        self._now_ms = now_ms
        self._limits = limits
        self._new = new
        self._holders: dict[str, int] = {}
        self._successors: dict[str, int] = {}
        self.replacements: dict[int, Replacement] = {}
        self.stopped: dict[int, None] = {}

    def judge(self, spec: JobSpec, unique: Unique) -> Verdict:
        """What becomes of it; UNIQUE_CONFLICT, INVALID_REQUEST or QUEUE_FULL when it is refused. Changes nothing."""
        name = unique.held_as(spec.type)
        uniques = self._state.uniques
        holder = uniques.holders.get(name)
        number = self._holders.get(name, holder.number if holder is not None else 0)
        if not number:
            return self._unheld(name, unique)
        successor = uniques.successors.get(name)
        behind = self._successors.get(name, successor.number if successor is not None else 0)
        if holder is not None and holder.status is IN_PROGRESS:
            return self._judge_beside_running(spec, unique, number, behind)
        after = unique.if_running in (IfRunning.ENQUEUE_ONE_AFTER, IfRunning.CANCEL)
        if behind and (after or unique.on_conflict not in (OnConflict.KEEP, OnConflict.REJECT)):
            return self._in_place_of(spec, unique, behind)
        if unique.on_conflict is OnConflict.REJECT:
            raise self._conflict(unique, number)
        if unique.on_conflict is OnConflict.KEEP or (holder is not None and holder.status is DEAD):
            return Verdict(Outcome.KEPT, number)
        return self._in_place_of(spec, unique, number)

    def accept(self, spec: JobSpec, unique: Unique, verdict: Verdict, number: int) -> None:
        """Make the verdict hold for those that follow. `number` is that of a new job."""
        if verdict.stops:
            self.stopped[verdict.stops] = None
        if verdict.replaces:
            self._replace(spec, unique, verdict.number)
        elif not verdict.number:
            after = verdict.outcome is not Outcome.CREATED
            (self._successors if after else self._holders)[unique.held_as(spec.type)] = number

    def spec_of(self, number: int) -> JobSpec:
        """What this job asks for by now."""
        replacement = self.replacements.get(number)
        if replacement is not None:
            return replacement.spec
        first = self._state.next_number
        return self._new[number - first] if number >= first else self._state.jobs[number].spec

    def _unheld(self, name: str, unique: Unique) -> Verdict:
        kept = self._state.uniques.keeper(name, self._now_ms)
        if kept is not None:
            if OnConflict.REJECT is unique.on_conflict:
                raise self._conflict(unique, kept.number)
            return Verdict(Outcome.KEPT, kept.number)
        if len(self._state.uniques) + len(self._holders) >= self._limits.unique_keys:
            raise QueueFull(
                f"{self._limits.unique_keys} unique keys are held, which is the limit (unique_keys): submit without "
                "`unique`, or wait until jobs that hold one have ended",
                retry_after_ms=1_000,
            )
        return Verdict(Outcome.CREATED)

    def _judge_beside_running(self, spec: JobSpec, unique: Unique, number: int, behind: int) -> Verdict:
        match unique.if_running:
            case IfRunning.KEEP:
                return Verdict(Outcome.KEPT, number)
            case IfRunning.REJECT:
                raise self._conflict(unique, number)
            case IfRunning.ENQUEUE_ONE_AFTER:
                if behind:
                    return self._in_place_of(spec, unique, behind)
                return Verdict(Outcome.QUEUED_AFTER)
            case IfRunning.CANCEL:
                asked = self._state.jobs[number].cancel_requested or number in self.stopped
                stops = 0 if asked else number
                if behind:
                    self._check_same(spec, unique, behind)
                    return Verdict(Outcome.CANCELLING, behind, True, stops)
                return Verdict(Outcome.CANCELLING, 0, False, stops)

    def _in_place_of(self, spec: JobSpec, unique: Unique, number: int) -> Verdict:
        self._check_same(spec, unique, number)
        debounced = unique.on_conflict is OnConflict.DEBOUNCE
        return Verdict(Outcome.DEBOUNCED if debounced else Outcome.REPLACED, number, True)

    def _check_same(self, spec: JobSpec, unique: Unique, number: int) -> None:
        """What a replacement may not change: others go by it."""
        old = self.spec_of(number)
        assert old.unique is not None
        if old.type != spec.type:
            what, said, has = "type", spec.type, old.type
        elif old.unique.terms != unique.terms:
            what, said, has = "unique", "another scope, until or ttl_ms", "the one it was submitted with"
        elif old.sequence != spec.sequence:
            what, said, has = "sequence_key", "another sequence", "the one it was submitted to"
        else:
            return
        raise InvalidRequest.field(
            what,
            f"is {said!r}, and the job that it would replace, {self._id(number)}, has {has!r}: send the same, or wait "
            "until that job has ended",
        )

    def _replace(self, spec: JobSpec, unique: Unique, number: int) -> None:
        old = self.spec_of(number)
        first = self._state.next_number
        job = None if number >= first else self._state.jobs[number]
        created_at = self._now_ms if job is None else job.created_at
        run_at = spec.run_at
        if unique.on_conflict is OnConflict.REPLACE_KEEP_RUN_AT:
            run_at = old.run_at
        elif unique.on_conflict is OnConflict.DEBOUNCE:
            run_at = min(run_at, created_at + unique.max_wait_ms)
        if job is None:
            self._new[number - first] = structs.replace(spec, run_at=run_at)
            return
        before = self.replacements.get(number)
        was_due = before.due_at if before is not None else job.due_at
        moved = before is not None and before.anew
        if job.status is BLOCKED:
            self.replacements[number] = Replacement(number, structs.replace(spec, run_at=run_at))
            return
        due_at = run_at if run_at > self._now_ms else 0
        if unique.on_conflict is OnConflict.REPLACE_KEEP_RUN_AT:
            due_at = was_due  # that of a job that backs off is not what it asked for
        anew = not due_at and (moved or bool(was_due) or spec.priority != old.priority)
        if not due_at:
            run_at = self._now_ms if anew else old.run_at  # since when it waits
        self.replacements[number] = Replacement(number, structs.replace(spec, run_at=run_at), due_at, anew)

    def _conflict(self, unique: Unique, number: int) -> UniqueConflict:
        job_id = self._id(number)
        return UniqueConflict(
            f"unique key {unique.key!r} is held by job {job_id}: wait until it has ended, or say with on_conflict and "
            "if_running what is to be done",
            job_id=job_id,
        )

    def _id(self, number: int) -> str:
        job = self._state.jobs.get(number)
        return self._state.job_id(job) if job is not None else self._state.id_of_number(number)

"""What the log says of workflows and batches, judged by a model of their rules that keeps nothing but statuses.

A node is let run, or cut off, and a callback submitted, when its time has come and never before, once, in the very
commit that decides it; what a commit had no room for follows in the next ones (rule 19).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from osqueue_service.state.batch_records import BatchesMoved, BatchOpened, CalledBack
from osqueue_service.state.batches import BatchSpec, BatchStep, Callback
from osqueue_service.state.model import JobSpec, Status
from osqueue_service.state.needs import Member, Need, Policy
from osqueue_service.state.records import (
    AnyRecord,
    AttemptsEnded,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    CutOff,
    Evicted,
    FollowedUp,
    Purged,
    Retried,
    Revived,
    Submitted,
    Unblocked,
    WorkflowAdded,
)
from tests.checkers.logbook import Logbook

WAITS, RUNS, CUT = "waits", "runs", "is cut off"


def effects_come_once(book: Logbook, sweep_jobs_min: int) -> Iterator[str]:
    """Every commit leaves nothing undone that it had room for: at least `sweep_jobs_min` effects."""
    rules = _Rules()
    for commit in book.commits:
        effects = 0
        for record in commit.records:
            yield from rules.follow(record)
            effects += _effects(record)
        left = rules.left() if effects < sweep_jobs_min and rules.concerns_any(commit.records) else []
        if left:
            yield f"rule 19: commit {commit.sequence} had room, and left undone: {', '.join(left[:3])}"
    left = rules.left()
    if left:
        yield f"rule 19: the log ends, and undone is: {', '.join(left[:3])}"


def effects_seen(book: Logbook) -> Counter[str]:
    """How often what followed from what."""
    seen: Counter[str] = Counter()
    for commit in book.commits:
        for record in commit.records:
            if isinstance(record, Unblocked | CutOff | Revived):
                seen[f"nodes {type(record).__name__.lower()}"] += len(record.numbers)
            elif isinstance(record, CalledBack):
                seen.update(f"callbacks {item.callback.name.lower()}" for item in record.items)
            elif isinstance(record, FollowedUp):
                for item in record.items:
                    how = item.jobs[0].more.origin.how if item.jobs and item.jobs[0].more else ""
                    seen["jobs submitted by a death" if how == "on_dead" else "jobs that followed"] += len(item.jobs)
    return seen


def _effects(record: AnyRecord) -> int:
    if isinstance(record, Unblocked | CutOff | Revived | Cancelled | CancelRequested):
        return len(record.numbers)
    return len(record.items) if isinstance(record, CalledBack) else 0


def _statuses(record: AnyRecord) -> list[tuple[int, Status]]:
    """What jobs become by a record that leaves nothing else to be said of them."""
    if isinstance(record, Claimed):
        return [(grant.number, Status.IN_PROGRESS) for grant in record.grants]
    if isinstance(record, Completed):
        return [(item.number, Status.COMPLETED) for item in record.items]
    if isinstance(record, AttemptsEnded):
        return [(end.number, end.status) for end in record.items]
    if isinstance(record, Cancelled | Retried):
        status = Status.CANCELLED if isinstance(record, Cancelled) else Status.UNCLAIMED
        return [(number, status) for number in record.numbers]
    return []


@dataclass(slots=True)
class _Job:
    """A job that concerns others."""

    status: Status
    member: Member | None
    batch: int
    dies_loudly: bool
    purged: bool = False
    asked: bool = False
    cut: bool = False

    @property
    def ended(self) -> bool:
        return self.purged or self.status.finished


@dataclass(slots=True)
class _Batch:
    """A batch as it was opened, and what has become of it."""

    spec: BatchSpec
    jobs: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    sealed: bool = False
    cancelled: bool = False
    died: bool = False
    outcome: Status | None = None
    """How it stood when it last had ended."""
    called: set[Callback] = field(default_factory=set)


class _Rules:
    """The statuses of all jobs that concern others, and what follows from them."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._blocked: set[int] = set()
        self._cut: set[int] = set()
        self._batches: dict[int, _Batch] = {}
        self._to_stop: set[int] = set()
        self._died: set[int] = set()

    def concerns_any(self, records: list[AnyRecord]) -> bool:
        """Whether there is anything to look at."""
        return bool(records and (self._blocked or self._cut or self._batches or self._died))

    def follow(self, record: AnyRecord) -> Iterator[str]:
        """What happened; yields what must not have."""
        if isinstance(record, Submitted):
            self._add(record.first, record.jobs)
        elif isinstance(record, WorkflowAdded):
            self._add(record.first + (record.number == record.first), record.jobs)
        elif isinstance(record, FollowedUp):
            yield from self._followed(record)
        elif isinstance(record, BatchOpened):
            self._batches[record.number] = _Batch(record.spec)
            if record.spec.parent in self._batches:
                self._batches[record.spec.parent].batches.append(record.number)
        elif isinstance(record, BatchesMoved):
            self._move(record)
        elif isinstance(record, CalledBack):
            yield from self._called(record)
        elif isinstance(record, Unblocked | CutOff | Revived):
            yield from self._decided(record)
        else:
            yield from self._change(record)

    def left(self) -> list[str]:
        """What ought to have followed by now."""
        found = [
            f"job number {number} {fate}" for number in sorted(self._blocked) if (fate := self._fate(number)) != WAITS
        ]
        found += [f"job number {number} lives again" for number in sorted(self._cut) if self._fate(number) != CUT]
        for number, batch in self._batches.items():
            found += [
                f"batch number {number} calls {each.name}" for each in self._due(batch) if each not in batch.called
            ]
        found += [f"job number {number} is asked to stop" for number in sorted(self._to_stop)]
        return found + [f"job number {number} submits what its death asks for" for number in sorted(self._died)]

    # --- jobs --------------------------------------------------------------------------------------------------------

    def _add(self, first: int, specs: list[JobSpec]) -> None:
        for number, spec in enumerate(specs, first):
            more = spec.more
            if more is None or not (more.member or more.batch or more.on_dead):
                continue
            needs = more.member.needs if more.member is not None else ()
            status = Status.BLOCKED if needs else Status.UNCLAIMED
            self._jobs[number] = _Job(status, more.member, more.batch, more.on_dead is not None)
            if needs:
                self._blocked.add(number)
            if more.batch in self._batches:
                self._batches[more.batch].jobs.append(number)

    def _change(self, record: AnyRecord) -> Iterator[str]:
        if isinstance(record, Evicted):
            self._cut.difference_update(record.numbers)
        elif isinstance(record, CancelRequested):
            self._to_stop.difference_update(record.numbers)
            for job in self._known(record.numbers).values():
                job.asked = True
        elif isinstance(record, Purged):
            for number, job in self._known(record.numbers).items():
                job.purged = True
                self._become(number, job.status)
        else:
            for number, status in _statuses(record):
                job_then = self._jobs.get(number)
                if status is Status.IN_PROGRESS and job_then is not None and job_then.status is Status.BLOCKED:
                    yield f"rule 19: job number {number} was claimed while it was blocked"
                self._become(number, status)

    def _known(self, numbers: list[int]) -> dict[int, _Job]:
        return {number: self._jobs[number] for number in numbers if number in self._jobs}

    def _become(self, number: int, status: Status) -> None:
        job = self._jobs.get(number)
        if job is None:
            return
        if status is Status.DEAD and job.status is not Status.DEAD and job.dies_loudly:
            self._died.add(number)
        job.status = status
        if status is not Status.BLOCKED or job.purged:
            self._blocked.discard(number)
        if job.ended:
            self._to_stop.discard(number)
        else:
            job.asked = job.asked and status is Status.IN_PROGRESS
            self._cut.discard(number)
        if job.purged:
            self._cut.discard(number)
        batch = self._batches.get(job.batch)
        if batch is not None:
            batch.died = batch.died or (status is Status.DEAD and not job.purged)
            self._settle(batch)

    def _followed(self, record: FollowedUp) -> Iterator[str]:
        number = record.first
        for item in record.items:
            job = self._jobs.get(item.number)
            if item.number in self._died:
                self._died.discard(item.number)
            elif job is not None and job.status is Status.DEAD:
                yield f"rule 19: the death of job number {item.number} submitted its job twice"
            self._add(number, item.jobs)
            number += len(item.jobs)

    # --- workflows ---------------------------------------------------------------------------------------------------

    def _decided(self, record: Unblocked | CutOff | Revived) -> Iterator[str]:
        """Nodes change because of what they need. All of a record are decided on what was before it."""
        for number in record.numbers:
            fate, status = self._fate(number), self._jobs[number].status
            wanted = RUNS if isinstance(record, Unblocked) else CUT
            before = Status.CANCELLED if isinstance(record, Revived) else Status.BLOCKED
            right = isinstance(record, Revived) or fate == wanted
            if not right or status is not before:
                yield f"rule 19: {type(record).__name__} of job number {number}, which was {status.wire} and {fate}"
        became = {Unblocked: Status.UNCLAIMED, CutOff: Status.CANCELLED, Revived: Status.BLOCKED}[type(record)]
        for number in record.numbers:
            self._become(number, became)
        if isinstance(record, CutOff):
            self._cut.update(record.numbers)
        elif isinstance(record, Revived):
            self._blocked.update(record.numbers)

    def _fate(self, number: int) -> str:
        member = self._jobs[number].member
        assert member is not None
        fates = [self._says(need) for need in member.needs]
        return CUT if CUT in fates else WAITS if WAITS in fates else RUNS

    def _says(self, need: Need) -> str:
        """What one need says."""
        parent = self._jobs[need.number]
        if parent.purged:
            return RUNS if need.if_dead is need.if_cancelled is Policy.RUN else CUT
        if not parent.status.finished:
            return WAITS
        if parent.status is Status.COMPLETED:
            return RUNS
        policy = need.if_dead if parent.status is Status.DEAD else need.if_cancelled
        return {Policy.CASCADE: CUT, Policy.RUN: RUNS, Policy.HOLD: WAITS}[policy]

    # --- batches -----------------------------------------------------------------------------------------------------

    def _move(self, record: BatchesMoved) -> None:
        for number in record.numbers:
            batch = self._batches[number]
            match record.step:
                case BatchStep.SEALED:
                    batch.sealed = True
                    self._settle(batch)
                case BatchStep.CANCELLED:
                    batch.sealed = batch.cancelled = True
                    self._to_stop.update(each for each in batch.jobs if not self._stops(self._jobs[each]))
                    self._settle(batch)
                case BatchStep.FORGOTTEN:
                    del self._batches[number]

    @staticmethod
    def _stops(job: _Job) -> bool:
        return job.ended or job.asked

    def _settle(self, batch: _Batch) -> None:
        """How it stands, where all of its members have ended."""
        jobs = [self._jobs[number] for number in batch.jobs]
        children = [self._batches[number] for number in batch.batches if number in self._batches]
        if not batch.sealed or not all(job.ended for job in jobs) or not all(child.outcome for child in children):
            return
        how = [Status.CANCELLED if job.purged else job.status for job in jobs]
        how += [child.outcome for child in children if child.outcome is not None]
        if all(each is Status.COMPLETED for each in how) and not batch.cancelled:
            batch.outcome = Status.COMPLETED
        else:
            batch.outcome = Status.DEAD if Status.DEAD in how else Status.CANCELLED
        parent = self._batches.get(batch.spec.parent)
        if parent is not None:
            parent.died = parent.died or batch.outcome is Status.DEAD
            self._settle(parent)

    def _due(self, batch: _Batch) -> list[Callback]:
        """What it has to have submitted by now."""
        spec, due = batch.spec, []
        if spec.on_first_dead is not None and batch.died and not batch.cancelled:
            due.append(Callback.FIRST_DEAD)
        if spec.on_success is not None and batch.outcome is Status.COMPLETED:
            due.append(Callback.SUCCESS)
        if spec.on_finished is not None and batch.outcome is not None:
            due.append(Callback.FINISHED)
        return due

    def _called(self, record: CalledBack) -> Iterator[str]:
        for item in record.items:
            batch = self._batches[item.batch]
            if item.callback in batch.called:
                yield f"rule 19: batch number {item.batch} submitted {item.callback.name} twice"
            elif item.callback not in self._due(batch):
                yield f"rule 19: batch number {item.batch} submitted {item.callback.name} before its time"
            batch.called.add(item.callback)
        self._add(record.first, [item.job for item in record.items])

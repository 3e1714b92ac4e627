"""The log as it counts: every commit from the first on, along fences, and what it says of each job.

Built from objects (of a simulation's archive, or of a bucket that nothing was deleted from),
in one linear pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from osqueue_service.engine.codec import decode_commit
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import Fence, decode
from osqueue_service.state.batch_records import CalledBack
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.model import ON_DEAD, Ending, JobSpec, MoreOfSpec, Status
from osqueue_service.state.records import (
    AnyRecord,
    AttemptsEnded,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    CutOff,
    Evicted,
    Fired,
    FollowedUp,
    Founded,
    IdsRenewed,
    JobChange,
    LimitPut,
    Paused,
    Promoted,
    Purged,
    Replaced,
    Resumed,
    Retried,
    Revived,
    SchedulePut,
    Submitted,
    Unblocked,
    Updated,
    WorkflowAdded,
)
from osqueue_service.state.state import State
from tests.checkers.slots import Slots
from tests.checkers.turns import Turns

INHERITED = -1
"""The index of what was there before the first commit."""

# (body, when it became durable) of an object, or None.
Fetch = Callable[[str], tuple[bytes, float] | None]


@dataclass(slots=True)
class Commit:
    """One commit that counts."""

    epoch: int
    sequence: int
    at_ms: int
    landed_ms: float
    records: list[AnyRecord]
    body: bytes


@dataclass(slots=True)
class ClaimEntry:
    """One attempt in the log; `ending` None while it runs. Indexes are into the commits."""

    attempt: int
    token: str
    worker_id: str
    claimed: int
    ended: int | None = None
    ending: Ending | None = None
    became: Status | None = None


@dataclass(slots=True)
class JobEntry:
    """What the log says of one job. Indexes are into the commits; `first_claim` counts all claims in log order."""

    number: int
    job_id: str
    spec: JobSpec
    """What it asks for by now."""
    submitted: int
    status: Status = Status.UNCLAIMED
    attempts: int = 0
    claims: list[ClaimEntry] = field(default_factory=list)
    first_claim: int | None = None
    finished: int | None = None
    finished_at: int = 0
    completed: int | None = None
    evicted: int | None = None
    evicted_at: int = 0
    purged: int | None = None
    cancel_requested: bool = False
    payload: str = ""
    """What it was submitted with, even if another submission has replaced that."""
    changes: dict[str, list[int]] = field(
        default_factory=lambda: {"cancel": [], "retry": [], "purge": [], "update": [], "end": []}
    )
    """The commits in which an operator's wish came true, by its kind, and those in which the job ended."""

    @property
    def gone(self) -> bool:
        return self.evicted is not None or self.purged is not None


class Logbook:
    """`broken` names what the log itself gets wrong."""

    def __init__(self, default_max_attempts: int) -> None:
        self.commits: list[Commit] = []
        self.jobs: dict[str, JobEntry] = {}
        self.tokens: dict[str, tuple[JobEntry, ClaimEntry]] = {}
        self.fences: list[tuple[int, int]] = []
        """(epoch, sequence) of each fence passed."""
        self.broken: list[str] = []
        self.pauses: list[tuple[int, str, list[str]]] = []
        """(commit, "pause" or "resume", types), in log order."""
        self.epochs: dict[int, tuple[int, int]] = {}
        """First and last sequence of each epoch's segments."""
        self._numbers: dict[int, JobEntry] = {}
        self._templates: dict[int, JobSpec] = {}
        self._ids = JobIds()
        self._default_max_attempts = default_max_attempts
        self._turns = Turns(self.broken)
        self._slots = Slots(self.broken)

    @classmethod
    def walk(cls, fetch: Fetch, default_max_attempts: int, inherited: State | None = None) -> "Logbook":
        """Read every slot from the first, following fences, to the first that never was. `inherited`: what the queue
        began with, if it was not empty."""
        book = cls(default_max_attempts)
        if inherited is not None:
            book._inherit(inherited)
        lane, sequence = 0, 1
        link = bytes(32)
        while (found := fetch(segment_key(lane, sequence))) is not None:
            body, landed_ms = found
            key = segment_key(lane, sequence)
            decoded = decode(key, body)
            entry = decoded.entry
            if entry.previous_hash != link:
                book.broken.append(f"rule 11: the hash chain breaks at {key}")
            link = decoded.hash
            if isinstance(entry, Fence):
                if entry.epoch <= lane:
                    book.broken.append(f"rule 3: {key} fences lane {lane} with epoch {entry.epoch}")
                lane = entry.epoch
                book.fences.append((entry.epoch, sequence))
            else:
                book.add(entry.epoch, sequence, landed_ms, entry.records)
            sequence += 1
        return book

    def add(self, epoch: int, sequence: int, landed_ms: float, body: bytes) -> None:
        commit = decode_commit(body)
        self.commits.append(Commit(epoch, sequence, commit.at_ms, landed_ms, commit.records, body))
        first, _ = self.epochs.get(epoch, (sequence, sequence))
        self.epochs[epoch] = (first, sequence)
        index = len(self.commits) - 1
        if index and self.commits[index - 1].at_ms > commit.at_ms:
            self.broken.append(f"law 5: the stamp of commit {sequence} is earlier than that of the one before it")
        for record in commit.records:
            if isinstance(record, Paused | Resumed):
                self.pauses.append((index, "pause" if isinstance(record, Paused) else "resume", record.types))
            elif isinstance(record, LimitPut):
                self._slots.put(record.limit)
            else:
                self._follow(record, index, commit.at_ms)

    def job_of(self, number: int) -> JobEntry | None:
        return self._numbers.get(number)

    def landed_ms(self, index: int) -> float:
        """When the commit became durable; what was there before the first commit was so from the beginning."""
        return self.commits[index].landed_ms if index != INHERITED else 0.0

    def _inherit(self, state: State) -> None:
        """Jobs, with their attempts, that were there before the first commit."""
        self._ids = state.ids
        for job in state.jobs.values():
            entry = JobEntry(job.number, state.job_id(job), job.spec, INHERITED, job.status, job.attempts)
            entry.payload = job.spec.payload.decode()
            for number in range(1, job.claims + 1):
                live = number == job.claims and job.lease is not None
                token = f"{entry.job_id} {number}"
                ended, ending = (None, None) if live else (INHERITED, Ending.FAILED)
                entry.claims.append(ClaimEntry(number, token, "", INHERITED, ended, ending))
            self.jobs[entry.job_id] = self._numbers[job.number] = entry

    # --- what each record says ---------------------------------------------------------------------------------------

    def _follow(self, record: AnyRecord, index: int, at_ms: int) -> None:
        if isinstance(record, Founded):
            self._ids = JobIds(record.salt, record.ids_from)
        elif isinstance(record, IdsRenewed):
            self._ids = JobIds(self._ids.salt, record.first)
        elif isinstance(record, Submitted | Replaced | Updated):
            self._ask(record, index, at_ms)
        elif isinstance(record, Claimed):
            for grant in record.grants:
                self._claim(self._numbers[grant.number], grant.token, record.worker_id, index)
                self._slots.claimed(self._numbers[grant.number], at_ms)
        elif isinstance(record, Completed):
            for item in record.items:
                self._end(self._numbers[item.number], index, at_ms, Ending.COMPLETED, Status.COMPLETED)
        elif isinstance(record, AttemptsEnded):
            for end in record.items:
                self._end(self._numbers[end.number], index, at_ms, end.ending, end.status)
        elif isinstance(
            record, Evicted | Promoted | CancelRequested | Cancelled | CutOff | Unblocked | Revived | Retried | Purged
        ):
            for number in record.numbers:
                self._change(self._numbers[number], record, index, at_ms)
        else:
            self._bring_about(record, index, at_ms)

    def _ask(self, record: Submitted | Replaced | Updated, index: int, at_ms: int) -> None:
        if isinstance(record, Submitted):
            self._submit(record, index, at_ms)
        elif isinstance(record, Replaced):
            self._replace(record, at_ms)
        else:
            for number in record.numbers:
                self._update(self._numbers[number], record.change, index, at_ms)

    def _submit(self, record: Submitted, index: int, at_ms: int) -> None:
        for number, spec in enumerate(record.jobs, record.first):
            job = JobEntry(number, self._ids.of(number), spec, index)
            job.status = Status.SCHEDULED if spec.run_at > at_ms else Status.UNCLAIMED
            if spec.more is not None and spec.more.member is not None and spec.more.member.needs:
                job.status = Status.BLOCKED
            job.payload = spec.payload.decode()
            self._turns.submitted(job)
            self.jobs[job.job_id] = job
            self._numbers[number] = job

    def _bring_about(self, record: AnyRecord, index: int, at_ms: int) -> None:
        """Jobs that come of others, or of what was asked for earlier."""
        if isinstance(record, WorkflowAdded):
            self._submit(Submitted(record.first + (record.number == record.first), record.jobs), index, at_ms)
        elif isinstance(record, CalledBack):
            self._submit(Submitted(record.first, [item.job for item in record.items]), index, at_ms)
        elif isinstance(record, FollowedUp):
            number = record.first
            for item in record.items:
                jobs = [_told_apart(job, number + place) for place, job in enumerate(item.jobs)]
                self._submit(Submitted(number, jobs), index, at_ms)
                number += len(jobs)
        else:
            self._schedule(record, index, at_ms)

    def _schedule(self, record: AnyRecord, index: int, at_ms: int) -> None:
        """Jobs of schedules are like others: only their template is elsewhere."""
        if isinstance(record, SchedulePut):
            self._templates[record.number] = record.spec.job
        elif isinstance(record, Fired):
            for decision in record.decisions:
                if decision.outcome.submits:
                    spec = self._templates[decision.schedule]
                    more = MoreOfSpec(schedule=str(decision.schedule), scheduled_for=decision.nominal)
                    # A payload names one submission; all jobs of a schedule have the same.
                    payload = spec.payload + b"/%d" % decision.job
                    job = replace(spec, payload=payload, more=more)
                    self._submit(Submitted(decision.job, [job]), index, at_ms)

    def _replace(self, record: Replaced, at_ms: int) -> None:
        for item in record.items:
            job = self._numbers[item.number]
            job.spec, job.attempts = item.spec, 0
            job.status = Status.SCHEDULED if item.due_at or item.spec.run_at > at_ms else Status.UNCLAIMED

    def _update(self, job: JobEntry, change: JobChange, index: int, at_ms: int) -> None:
        """A job that waits, or waits for its time; of those that are blocked, the log names some only."""
        if job.status not in (Status.UNCLAIMED, Status.SCHEDULED, Status.BLOCKED):
            self.broken.append(f"rule 1: {job.job_id} was changed while it was {job.status.wire}")
        job.spec = change.of(job.spec)
        if change.run_at is not None and job.status is not Status.BLOCKED:
            job.status = Status.SCHEDULED if change.run_at > at_ms else Status.UNCLAIMED
        job.changes["update"].append(index)

    def _change(self, job: JobEntry, record: AnyRecord, index: int, at_ms: int) -> None:
        """What a record that is nothing but a list of jobs says of one of them."""
        if isinstance(record, Evicted):
            self._evict(job, index, at_ms)
        elif isinstance(record, Promoted):
            job.status = Status.UNCLAIMED
        elif isinstance(record, Unblocked):
            job.status = Status.SCHEDULED if job.spec.run_at > at_ms else Status.UNCLAIMED
        elif isinstance(record, Revived):
            job.status, job.finished = Status.BLOCKED, None
        elif isinstance(record, CancelRequested):
            job.cancel_requested = True
            job.changes["cancel"].append(index)
        elif isinstance(record, Cancelled | CutOff):
            self._finish(job, Status.CANCELLED, index, at_ms)
            job.changes["cancel"].append(index)
        elif isinstance(record, Retried):
            job.status, job.attempts, job.finished, job.cancel_requested = Status.UNCLAIMED, 0, None, False
            job.changes["retry"].append(index)
        else:
            self._turns.ended(job)
            self._slots.ended(job, at_ms, None)
            job.purged = index
            job.changes["purge"].append(index)

    def _evict(self, job: JobEntry, index: int, at_ms: int) -> None:
        job.evicted, job.evicted_at = index, at_ms
        if job.finished is None:
            self.broken.append(f"rule 1: {job.job_id} was evicted though it was {job.status.wire}")
        elif job.spec.retention_ms and at_ms < job.finished_at + job.spec.retention_ms:
            self.broken.append(f"rule 13: {job.job_id} was evicted before the retention it was promised")

    def _claim(self, job: JobEntry, token: str, worker_id: str, index: int) -> None:
        waits = job.status is Status.UNCLAIMED or (job.status is Status.SCHEDULED and _may_be_blocked(job.spec))
        if not waits:
            self.broken.append(f"rule 4: {job.job_id} was claimed while it was {job.status.wire}")
        if token in self.tokens:
            self.broken.append(f"rule 4: token {token} was given twice")
        job.status = Status.IN_PROGRESS
        job.attempts += 1
        limit = job.spec.max_attempts or self._default_max_attempts
        if job.attempts > limit:
            self.broken.append(f"rule 4: attempt {job.attempts} of {job.job_id}, which may have {limit}")
        entry = ClaimEntry(len(job.claims) + 1, token, worker_id, index)
        job.claims.append(entry)
        self._turns.claimed(job)
        self.tokens[token] = (job, entry)
        if job.first_claim is None:
            job.first_claim = len(self.tokens)

    def _end(self, job: JobEntry, index: int, at_ms: int, ending: Ending, became: Status) -> None:
        if job.status is not Status.IN_PROGRESS:
            self.broken.append(f"rule 4: an attempt of {job.job_id} ended while it was {job.status.wire}")
            return
        if ending is Ending.RELEASED:
            job.attempts -= 1
        self._check_exhaustion(job, ending, became)
        entry = job.claims[-1]
        entry.ended, entry.ending, entry.became = index, ending, became
        job.status = became
        self._turns.ended(job)
        self._slots.ended(job, at_ms, ending)
        if ending is Ending.COMPLETED:
            job.completed = index
        if became.finished:
            self._finish(job, became, index, at_ms)

    def _check_exhaustion(self, job: JobEntry, ending: Ending, became: Status) -> None:
        limit = job.spec.max_attempts or self._default_max_attempts
        exempt = ending in (Ending.RELEASED, Ending.COMPLETED) or job.cancel_requested
        if job.attempts >= limit and not exempt and became is not Status.DEAD:
            self.broken.append(f"rule 7: {job.job_id} has used up its {limit} attempts and became {became.wire}")

    @staticmethod
    def _finish(job: JobEntry, status: Status, index: int, at_ms: int) -> None:
        job.status = status
        job.finished, job.finished_at = index, at_ms
        job.changes["end"].append(index)


def _told_apart(spec: JobSpec, number: int) -> JobSpec:
    """A payload names one submission; whatever one job submits at its deaths has the same."""
    if spec.more is None or spec.more.origin is None or spec.more.origin.how != ON_DEAD:
        return spec
    return replace(spec, payload=spec.payload + b"/%d" % number)


def _may_be_blocked(spec: JobSpec) -> bool:
    """Whether the log does not say when it began to wait: a job that others block is let go without a word."""
    return spec.unique is not None or spec.sequence is not None

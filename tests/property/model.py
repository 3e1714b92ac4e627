"""The queue as simply as it can be said: dictionaries, lists and sorting.

It shares no code with the core but the words of its interface, knows no index, and looks at
every job for every question. What it answers is what the documentation promises.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from osqueue_service.errors import IdempotencyConflict, InvalidRequest, JobNotFound, LeaseLost, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.commands import FailAnswer
from osqueue_service.state.model import Ending, JobSpec, Status

LIVE = (Status.UNCLAIMED, Status.SCHEDULED, Status.IN_PROGRESS)
LET_GO = 8
"""A sweep lets go of so many times more, of each kind, than it handles of what comes due."""
Refusal = type[Exception]


@dataclass
class ModelLease:
    token: str
    worker_id: str
    attempt: int
    started_at: int
    claim_key: str = ""


@dataclass
class ModelAttempt:
    number: int
    worker_id: str
    token: str
    ended_at: int
    ending: Ending
    became: Status
    next_at: int = 0


@dataclass
class ModelJob:
    number: int
    spec: JobSpec
    place: int
    status: Status
    due_at: int = 0
    attempts: int = 0
    claims: int = 0
    cancel_requested: bool = False
    keep_until: int = 0
    result: bytes | None = None
    lease: ModelLease | None = None
    history: list[ModelAttempt] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.spec.size + len(self.result or b"") + sum(len(ENDS.get(a.ending, "")) for a in self.history)


# What the sweep writes into a history as error type and message; workers of these tests send no errors.
ENDS = {
    Ending.EXPIRED: "EXPIRED" + "no heartbeat arrived before the lease ended",
    Ending.TIMED_OUT: "TIMED_OUT" + "the attempt ran longer than its timeout_ms",
}


@dataclass
class Remembered:
    expires_at: int
    value: Any


class Model:
    """Every method is one command; refusals are returned as the class of the error."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.jobs: dict[int, ModelJob] = {}
        self.next_number = 1
        self.paused: set[str] = set()
        self.keys: dict[str, Remembered] = {}
        self.requests: dict[str, Remembered] = {}
        self.settled: dict[str, Remembered] = {}
        self.shown: set[str] = set()
        self.totals = dict.fromkeys(
            ("submitted", "completed", "cancelled", "claimed", "failed", "expired", "timed_out", "released", "died",
             "retried", "evicted"), 0,
        )  # fmt: skip

    # --- submitting ------------------------------------------------------------------------------------------------

    def submit(self, specs: list[JobSpec], atomic: bool, request_id: str, now: int) -> Any:
        content = [(spec.type, spec.payload) for spec in specs]
        earlier: list[Any] = [None] * len(specs)
        known = self.requests.get(request_id) if request_id else None
        if known and known.expires_at > now:
            if known.value[0] != content:
                return IdempotencyConflict
            earlier = list(known.value[1])
        answers: list[Any] = []
        new: list[JobSpec] = []
        for spec, before in zip(specs, earlier, strict=True):
            answers.append(before if before is not None else self._admit(spec, new, now))
            if isinstance(answers[-1], type) and atomic:
                return answers[-1]
        fresh_duplicates = any(a[1] for a, b in zip(answers, earlier, strict=True) if b is None and type(a) is tuple)
        for spec in new:
            self._add(spec, now)
        if request_id and (new or fresh_duplicates):
            accepted = [a if isinstance(a, tuple) else None for a in answers]
            self.requests.pop(request_id, None)  # renewed, it is the newest
            self.requests[request_id] = Remembered(now + self.limits.request_ttl_ms, (content, accepted))
        return answers

    def _admit(self, spec: JobSpec, new: list[JobSpec], now: int) -> Any:
        """(number, deduplicated), or what refuses it."""
        limits = self.limits
        key = spec.idempotency_key
        if key:
            same = next((i for i, other in enumerate(new) if other.idempotency_key == key), None)
            known = self.keys.get(key)
            found: tuple[int, Any] | None = None
            if known and known.expires_at > now:
                found = known.value
            elif same is not None:
                found = (self.next_number + same, (new[same].type, new[same].payload))
            if found:
                return (found[0], True) if found[1] == (spec.type, spec.payload) else IdempotencyConflict
            if len(self.keys) + len({s.idempotency_key for s in new if s.idempotency_key}) >= limits.idempotency_keys:
                return QueueFull
        live = [job.spec for job in self.jobs.values() if job.status in LIVE] + new
        promised = [job for job in self.jobs.values() if job.spec.retention_ms]
        full = (
            len(live) >= limits.jobs
            or sum(s.size for s in live) + spec.size > limits.bytes
            or (
                spec.retention_ms
                and (
                    len(promised) + sum(1 for s in new if s.retention_ms) >= limits.promised_jobs
                    or sum(job.size for job in promised if job.status not in LIVE) >= limits.promised_bytes
                )
            )
        )
        if full:
            return QueueFull
        new.append(spec)
        return (self.next_number + len(new) - 1, False)

    def _add(self, spec: JobSpec, now: int) -> None:
        number = self.next_number
        self.next_number += 1
        later = spec.run_at > now
        status = Status.SCHEDULED if later else Status.UNCLAIMED
        self.jobs[number] = ModelJob(number, spec, number, status, spec.run_at if later else 0)
        if spec.idempotency_key:
            value = (number, (spec.type, spec.payload))
            self.keys.pop(spec.idempotency_key, None)  # renewed, it is the newest
            self.keys[spec.idempotency_key] = Remembered(now + self.limits.idempotency_ttl_ms, value)
        self.totals["submitted"] += 1

    # --- claiming and ending attempts ------------------------------------------------------------------------------

    def ready(self, types: tuple[str, ...] = ()) -> list[ModelJob]:
        waiting = [
            job for job in self.jobs.values()
            if job.status is Status.UNCLAIMED and job.spec.type not in self.paused
            and (not types or job.spec.type in types)
        ]  # fmt: skip
        return sorted(waiting, key=lambda job: (-job.spec.priority, job.place))

    def claim(self, worker: str, types: tuple[str, ...], tokens: list[str], claim_key: str, now: int) -> Any:
        """{number: token} and, for a repeated claim key, those again."""
        if claim_key:
            held = [
                job for job in self.jobs.values()
                if job.lease and (job.lease.worker_id, job.lease.claim_key) == (worker, claim_key)
            ]  # fmt: skip
            if held:
                return {job.number: job.lease.token for job in held if job.lease}
        granted = {}
        for job, token in zip(self.ready(types), tokens, strict=False):
            job.attempts += 1
            job.claims += 1
            job.status = Status.IN_PROGRESS
            job.lease = ModelLease(token, worker, job.claims, now, claim_key)
            granted[job.number] = token
            self.totals["claimed"] += 1
        return granted

    def heartbeat(self, number: int, worker: str, token: str) -> Any:
        job = self.jobs.get(number)
        if job is None:
            return JobNotFound
        if not self._holds(job, worker, token):
            return LeaseLost
        if token:
            self.shown.add(token)
        return number

    def _holds(self, job: ModelJob, worker: str, token: str) -> bool:
        if job.lease is None:
            return False
        if token:
            return token == job.lease.token
        return worker == job.lease.worker_id and job.lease.token not in self.shown

    def end(self, ending: Ending, number: int, worker: str, token: str, now: int, **how: Any) -> Any:
        """Complete, fail or release: None, a `FailAnswer` or a `Status`, or what refuses it."""
        job = self.jobs.get(number)
        if job is None:
            known = self.settled.get(token) if token else None
            if known and known.expires_at > now:
                known_number, attempt = known.value
                if known_number == number and attempt.ending is ending:
                    return self._repeat(attempt)
            return JobNotFound
        if self._holds(job, worker, token):
            return self._end(job, ending, now, **how)
        if token:
            ended = [attempt for attempt in job.history if attempt.token == token]
        else:
            ended = [a for a in job.history[-1:] if job.lease is None and a.worker_id == worker]
        if ended and ended[-1].ending is ending and now - ended[-1].ended_at <= self.limits.settled_ttl_ms:
            return self._repeat(ended[-1])
        return LeaseLost

    @staticmethod
    def _repeat(attempt: ModelAttempt) -> Any:
        """A failure tells where the job went and when it runs next, a release only where it went."""
        if attempt.ending is Ending.FAILED:
            return FailAnswer(attempt.became, attempt.next_at)
        return attempt.became if attempt.ending is Ending.RELEASED else None

    def _end(
        self, job: ModelJob, ending: Ending, now: int, *, result: bytes | None = None, retryable: bool = True,
        delay_ms: int = 0,
    ) -> Any:  # fmt: skip
        """Where the job goes: done, cancelled as was asked, dead because nothing is left, or waiting again."""
        limits = self.limits
        assert job.lease is not None
        spent = job.attempts >= (job.spec.max_attempts or limits.default_max_attempts)
        next_at = 0
        if ending is Ending.COMPLETED:
            became = Status.COMPLETED
        elif job.cancel_requested:
            became = Status.CANCELLED
        elif ending is Ending.RELEASED:
            became = Status.UNCLAIMED
        elif spent or not retryable:
            became = Status.DEAD
        else:
            became = Status.SCHEDULED if delay_ms else Status.UNCLAIMED
            next_at = now + delay_ms if delay_ms else 0
        if ending is Ending.RELEASED:
            job.attempts -= 1
        lease = job.lease
        attempt = ModelAttempt(lease.attempt, lease.worker_id, lease.token, now, ending, became, next_at)
        job.history = [*job.history, attempt][-limits.history_attempts :]
        self.shown.discard(lease.token)
        job.lease = None
        job.result = result
        job.due_at = next_at
        counted = {Ending.COMPLETED: "", Ending.FAILED: "failed", Ending.EXPIRED: "expired",
                   Ending.TIMED_OUT: "timed_out", Ending.RELEASED: "released"}[ending]  # fmt: skip
        if counted:
            self.totals[counted] += 1
        self._become(job, became, now)
        return self._repeat(attempt)

    def _become(self, job: ModelJob, status: Status, now: int) -> None:
        job.status = status
        if status in LIVE:
            return
        limits = self.limits
        usual = limits.dead_retention_ms if status is Status.DEAD else limits.default_retention_ms
        job.keep_until = now + (job.spec.retention_ms or usual)
        job.due_at = 0
        self.totals[{Status.COMPLETED: "completed", Status.DEAD: "died", Status.CANCELLED: "cancelled"}[status]] += 1

    # --- time ------------------------------------------------------------------------------------------------------

    def sweep(self, expired: list[tuple[int, str]], limit: int, now: int) -> None:
        promoted = sorted((job.due_at, job.number) for job in self._in(Status.SCHEDULED) if job.due_at <= now)[:limit]
        let_go = LET_GO * limit
        evicted = self._evictable(now, let_go)
        forgotten = [
            self._forgettable(table, cap, let_go, now)
            for table, cap in (
                (self.keys, self.limits.idempotency_keys),
                (self.requests, self.limits.request_ids),
                (self.settled, self.limits.settled_tokens),
            )
        ]
        late = sorted((self._deadline(job), job.number) for job in self._in(Status.IN_PROGRESS) if job.spec.timeout_ms)
        over = [number for deadline, number in late if deadline <= now][:limit]
        ends = [(number, Ending.TIMED_OUT) for number in over]
        for number, token in expired:
            job = self.jobs.get(number)
            if job and job.lease and job.lease.token == token and number not in over:
                ends.append((number, Ending.EXPIRED))
        for number, ending in dict(ends).items():
            self._end(self.jobs[number], ending, now)
        for _, number in promoted:
            self._wait_behind(self.jobs[number])
        for number in evicted:
            self._evict(self.jobs.pop(number), now)
        for table, keys in zip((self.keys, self.requests, self.settled), forgotten, strict=True):
            for key in keys:
                del table[key]

    def _in(self, status: Status) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status is status]

    @staticmethod
    def _deadline(job: ModelJob) -> int:
        assert job.lease is not None
        return job.lease.started_at + job.spec.timeout_ms

    def _wait_behind(self, job: ModelJob) -> None:
        job.status = Status.UNCLAIMED
        job.place = self.next_number
        job.due_at = 0
        self.next_number += 1

    def _evictable(self, now: int, limit: int) -> list[int]:
        limits = self.limits
        done = sorted(
            (job for job in self.jobs.values() if job.status not in LIVE), key=lambda j: (j.keep_until, j.number)
        )
        gone: list[int] = []
        promised = [job for job in done if job.spec.retention_ms]
        dead = [job for job in done if not job.spec.retention_ms and job.status is Status.DEAD]
        others = [job for job in done if not job.spec.retention_ms and job.status is not Status.DEAD]
        for line, jobs_max, bytes_max in (
            (promised, len(promised), limits.kept_promises_bytes),
            (others, limits.finished_jobs, limits.finished_bytes),
            (dead, limits.dead_jobs, limits.dead_bytes),
        ):
            for position, job in enumerate(line[:limit]):
                left = line[position:]
                if job.keep_until > now and len(left) <= jobs_max and sum(j.size for j in left) <= bytes_max:
                    break
                gone.append(job.number)
        return gone

    @staticmethod
    def _forgettable(table: dict[str, Remembered], cap: int, limit: int, now: int) -> list[str]:
        keys: list[str] = []
        for key, entry in table.items():
            if len(keys) == limit or (entry.expires_at > now and len(table) - len(keys) <= cap):
                break
            keys.append(key)
        return keys

    def _evict(self, job: ModelJob, now: int) -> None:
        self.totals["evicted"] += 1
        for attempt in job.history:
            if attempt.ended_at + self.limits.settled_ttl_ms > now:
                expires_at = attempt.ended_at + self.limits.settled_ttl_ms
                self.settled.pop(attempt.token, None)  # renewed, it is the newest
                self.settled[attempt.token] = Remembered(expires_at, (job.number, replace(attempt)))

    # --- operators -------------------------------------------------------------------------------------------------

    def cancel(self, number: int, now: int) -> Any:
        job = self.jobs.get(number)
        if job is None:
            return JobNotFound
        if job.status is Status.IN_PROGRESS:
            job.cancel_requested = True
        elif job.status in LIVE:
            self._become(job, Status.CANCELLED, now)
        return job.status

    def retry(self, number: int) -> Any:
        job = self.jobs.get(number)
        if job is None:
            return JobNotFound
        if job.status is not Status.DEAD:
            return InvalidRequest
        job.attempts = 0
        job.keep_until = 0
        job.cancel_requested = False
        self._wait_behind(job)
        self.totals["retried"] += 1
        return None

    def purge(self, number: int) -> Any:
        job = self.jobs.pop(number, None)
        if job is None:
            return JobNotFound
        if job.lease:
            self.shown.discard(job.lease.token)
        return None

"""A transport of one's own: the SDK's protocol over a small queue in memory, as a user might write one for tests.

Honest as far as it goes: first in first out by priority, leases with tokens, attempts, dead
letters, idempotency by request id. No clock: a lease ends when a test says so.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from osqueue.errors import BrokerProtocolError, JobNotFoundError, LeaseLostError, OsqueueError, from_reason
from osqueue.job import Attempt, ClaimedJob, Job, JobSpec, Position
from osqueue.messages import (
    Change,
    ChangePage,
    ClaimRequest,
    Claims,
    Completed,
    Completion,
    Explanation,
    Failure,
    Heartbeat,
    JobAnswer,
    JobEvent,
    JobPage,
    ListRequest,
    Release,
    Renewal,
    Selection,
    Settled,
    Submitted,
    WatchFrame,
    WatchRequest,
)
from osqueue.stats import Counts, Stats


class Queue:
    """The jobs, and what happened to them. Several transports may share one."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.tokens: dict[str, str] = {}
        self.requests: dict[str, object] = {}
        self.claims: dict[tuple[str, str], list[str]] = {}
        self.calls: list[str] = []
        self.batches: list[int] = []
        self.events: list[JobEvent] = []
        self.sequence = 0
        self.lease_ms = 30_000
        self.errors: list[OsqueueError] = []
        """Raised by the next calls, one each, before they do anything."""
        self.lost_answers: list[OsqueueError] = []
        """Raised by the next calls, one each, after they have been done."""
        self.watch_errors: list[OsqueueError] = []
        """Break the streams, one each, after what they have sent."""
        self._ids = itertools.count(1)
        self._changed: list[asyncio.Future[None]] = []

    def submit(self, spec: JobSpec) -> Submitted:
        for job in self.jobs.values():
            if spec.idempotency_key and job.idempotency_key == spec.idempotency_key:
                if (job.payload, job.type) != (spec.payload, spec.type):
                    raise from_reason("IDEMPOTENCY_CONFLICT", "the key was used with other content")
                return Submitted(job.id, True)
        if not spec.payload:
            raise from_reason("INVALID_REQUEST", "payload: is required")
        job_id = f"job-{next(self._ids)}"
        self.jobs[job_id] = Job(
            job_id,
            "unclaimed",
            spec.payload,
            spec.type,
            priority=spec.priority,
            max_attempts=spec.max_attempts or 0,
            effective_max_attempts=spec.max_attempts or 3,
            metadata=dict(spec.metadata or {}),
            idempotency_key=spec.idempotency_key,
            timeout_ms=spec.timeout_ms,
            lease_ms=spec.lease_ms,
        )
        self.changed("submitted", job_id)
        return Submitted(job_id)

    def claim(self, request: ClaimRequest) -> list[ClaimedJob]:
        held = [
            job_id for job_id in self.claims.get((request.worker_id, request.claim_key), []) if job_id in self.tokens
        ]
        if not held:
            ready = [job for job in self.jobs.values() if job.status == "unclaimed"]
            ready = [job for job in ready if not request.types or job.type in request.types]
            ready.sort(key=lambda job: -job.priority)
            held = [job.id for job in ready[: request.max_jobs]]
            for job_id in held:
                self._lease(self.jobs[job_id], request)
            self.claims[request.worker_id, request.claim_key] = held
        return [self._claimed(self.jobs[job_id]) for job_id in held]

    def held(self, job_id: str, worker_id: str, token: str) -> Job:
        job = self.jobs.get(job_id)
        if job is None:
            raise from_reason("JOB_NOT_FOUND", f"no job {job_id}")
        current = self.tokens.get(job_id)
        if current is None or (token and token != current) or job.worker_id != worker_id:
            raise from_reason("LEASE_LOST", f"the lease of {job_id} is not yours")
        return job

    def settle(self, job: Job, status: str, kind: str) -> None:
        self.tokens.pop(job.id)
        job.status = status  # type: ignore[assignment]
        job.lease_expires_at = 0
        job.history[-1].outcome = kind  # type: ignore[assignment]
        self.changed(kind, job.id)

    def fail(self, failure: Failure) -> Settled:
        job = self.held(failure.job_id, failure.worker_id, failure.lease_token)
        job.error = job.history[-1].error = failure.error
        job.attempts += 1
        exhausted = job.attempts >= job.effective_max_attempts
        status = "cancelled" if job.cancel_requested else "dead" if exhausted or not failure.retryable else "unclaimed"
        self.settle(job, status, "failed")
        return Settled(status, failure.retry_delay_ms or 0, self.position)  # type: ignore[arg-type]

    def expire(self, job_id: str) -> None:
        """The lease runs out."""
        job = self.jobs[job_id]
        job.attempts += 1
        self.settle(job, "unclaimed", "expired")

    def changed(self, kind: str, job_id: str) -> None:
        self.sequence += 1
        job = self.jobs[job_id]
        self.events.append(JobEvent(kind, job_id, job.type, job.status))
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.get_loop().call_soon_threadsafe(_wake, future)

    async def change(self) -> None:
        """Wait until something changes."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future

    @property
    def position(self) -> Position:
        return Position(1, self.sequence)

    def _lease(self, job: Job, request: ClaimRequest) -> None:
        job.status, job.worker_id = "in_progress", request.worker_id
        job.attempt_number += 1
        job.history.append(Attempt(job.attempt_number, request.worker_id, 0, 0, "running"))
        self.tokens[job.id] = f"{job.id}/{job.attempt_number}"
        self.changed("claimed", job.id)

    def _claimed(self, job: Job) -> ClaimedJob:
        return ClaimedJob(
            job.id,
            job.worker_id,
            job.payload,
            job.type,
            self.tokens[job.id],
            job.attempt_number,
            metadata=job.metadata,
            timeout_ms=job.timeout_ms,
            max_attempts=job.effective_max_attempts,
            lease_ms=job.lease_ms or self.lease_ms,
            cancel_requested=job.cancel_requested,
        )


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class MemoryTransport:
    """The protocol over a `Queue`."""

    name = "memory"
    address = "memory"

    def __init__(self, queue: Queue | None = None) -> None:
        self.queue = queue or Queue()
        self.closed = False

    def clone(self) -> "MemoryTransport":
        return MemoryTransport(self.queue)

    async def close(self) -> None:
        self.closed = True

    async def _enter(self, name: str) -> None:
        await asyncio.sleep(0)
        self.queue.calls.append(name)
        if self.queue.errors:
            raise self.queue.errors.pop(0)

    def _leave(self) -> None:
        if self.queue.lost_answers:
            raise self.queue.lost_answers.pop(0)

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        await self._enter("submit_jobs")
        if request_id in self.queue.requests:
            return self.queue.requests[request_id], self.queue.position  # type: ignore[return-value]
        self.queue.batches.append(len(jobs))
        results: list[Submitted | OsqueueError] = []
        for spec in jobs:
            try:
                results.append(self.queue.submit(spec))
            except OsqueueError as error:
                if atomic:
                    raise
                results.append(error)
        self.queue.requests[request_id] = results
        self._leave()
        return results, self.queue.position

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        await self._enter("claim_jobs")
        while not (jobs := self.queue.claim(request)) and request.wait_ms:
            await self.queue.change()
        self._leave()
        return Claims(jobs, self.queue.position if jobs else None)

    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        await self._enter("heartbeat_jobs")
        answers: list[Renewal | OsqueueError] = []
        for job_id, worker_id, token, progress, _ in heartbeats:
            try:
                job = self.queue.held(job_id, worker_id, token)
            except OsqueueError as error:
                answers.append(error)
                continue
            job.progress = progress or job.progress
            answers.append(Renewal(1, job.cancel_requested))
        for job_id, *_ in heartbeats:
            if job_id in self.queue.jobs:
                self.queue.changed("progressed", job_id)
        return answers, self.queue.position

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Completed | OsqueueError], Position | None]:
        await self._enter("complete_jobs")
        if request_id in self.queue.requests:
            return self.queue.requests[request_id], self.queue.position  # type: ignore[return-value]
        results: list[Completed | OsqueueError] = []
        for job_id, worker_id, token, result, *_ in completions:
            try:
                job = self.queue.held(job_id, worker_id, token)
            except OsqueueError as error:
                results.append(error)
                continue
            job.result = result
            self.queue.settle(job, "completed", "completed")
            results.append(Completed())
        self.queue.requests[request_id] = results
        self._leave()
        return results, self.queue.position

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        await self._enter("fail_job")
        return self.queue.fail(failure)

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        await self._enter("release_job")
        job = self.queue.held(release.job_id, release.worker_id, release.lease_token)
        self.queue.settle(job, "unclaimed", "released")
        return Settled("unclaimed", 0, self.queue.position)

    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        await self._enter("get_job")
        return JobAnswer(replace(self._job(job_id)), self.queue.position)

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        await self._enter("wait_job")
        while not self._job(job_id).finished and wait_ms:
            await self.queue.change()
        return JobAnswer(replace(self._job(job_id)), self.queue.position)

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        await self._enter("list_jobs")
        start, size = int(request.page_token or 0), request.page_size or 1_000
        jobs = [job for job in self.queue.jobs.values() if not job.finished]
        more = str(start + size) if start + size < len(jobs) else ""
        return JobPage([replace(job) for job in jobs[start : start + size]], more, self.queue.position)

    async def ask(self, question, *, timeout_ms: int):
        raise NotImplementedError(f"{type(question).__name__} is not played here")

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        await self._enter("get_stats")
        statuses = [job.status for job in self.queue.jobs.values()]
        counts = Counts(
            unclaimed=statuses.count("unclaimed"),
            in_progress=statuses.count("in_progress"),
            dead=statuses.count("dead"),
            completed_total=statuses.count("completed"),
            submitted_total=len(statuses),
        )
        counts.total = counts.unclaimed + counts.in_progress
        return Stats(counts, position=self.queue.position)

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        await self._enter("cancel_job")
        job = self._job(job_id)
        if job.status == "in_progress":
            job.cancel_requested = True
        elif not job.finished:
            job.status = "cancelled"
        self.queue.changed("cancelled", job_id)
        return Change(job_id, job.status, job.cancel_requested, commit=self.queue.position)

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        await self._enter("cancel_jobs")
        return await self._select(selection, self.cancel_job)

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        await self._enter("retry_jobs")

        async def retry(job_id: str, **_: object) -> Change:
            job = self._job(job_id)
            if job.status != "dead":
                raise BrokerProtocolError(f"job {job_id} is {job.status}, not dead", reason="INVALID_REQUEST")
            job.status, job.attempts = "unclaimed", 0
            self.queue.changed("retried", job_id)
            return Change(job_id, "unclaimed")

        return await self._select(selection, retry)

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        await self._enter("explain_job")
        job = self._job(job_id)
        return Explanation(job.status, ["finished" if job.finished else "next"], f"it is {job.status}")

    async def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        await self._enter("watch_jobs")
        seen = len(self.queue.events) if request.after is None else request.after.sequence
        while True:
            events = self.queue.events[seen:]
            if events:
                seen += len(events)
                yield WatchFrame(events, position=Position(1, seen))
                if self.queue.watch_errors:
                    raise self.queue.watch_errors.pop(0)
            await self.queue.change()

    async def _select(self, selection: Selection, change) -> ChangePage:  # type: ignore[no-untyped-def]
        changes = []
        for job_id in selection.job_ids or list(self.queue.jobs):
            try:
                changes.append(await change(job_id, request_id="", timeout_ms=0))
            except (JobNotFoundError, BrokerProtocolError, LeaseLostError) as error:
                changes.append(Change(job_id, error=error))
        return ChangePage(changes, "", self.queue.position)

    def _job(self, job_id: str) -> Job:
        job = self.queue.jobs.get(job_id)
        if job is None:
            raise from_reason("JOB_NOT_FOUND", f"no job {job_id}")
        return job

"""A transport that writes down what it asks and what it is told, one event per attempt and item."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from osqueue.errors import OsqueueError
from osqueue.job import JobSpec, Position
from osqueue.messages import ClaimRequest, Claims, Completion, Failure, Release, Settled, Submitted
from osqueue.stats import Stats
from osqueue.transports.addresses import parse
from osqueue.transports.grpc import GrpcTransport
from tests.checkers.history import OK, Event, History, outcome_of


def now_ms() -> float:
    return time.monotonic() * 1_000


class RecordingTransport:
    """Over gRPC to the brokers at `addresses`. What it does not record, it passes on."""

    name = "grpc"

    def __init__(
        self, process: str, addresses: Sequence[str], history: History, ended: Callable[[Event], None]
    ) -> None:
        self._process = process
        self._history = history
        self._ended = ended
        self._inner = GrpcTransport(parse(list(addresses)))

    def __getattr__(self, name: str) -> Any:
        if name == "work":  # its frames are not recorded, so that a worker over this claims with calls that are
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def address(self) -> str:
        return self._inner.address

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        events = [
            self._begin(
                "submit",
                spec.idempotency_key or f"{request_id}#{number}",
                type=spec.type,
                payload=spec.payload.decode(),
                max_attempts=spec.max_attempts or 0,
            )
            for number, spec in enumerate(jobs)
        ]
        try:
            results, commit = await self._inner.submit_jobs(
                jobs, atomic=atomic, request_id=request_id, timeout_ms=timeout_ms
            )
        except OsqueueError as error:
            self._refuse(events, error)
            raise
        for event, result in zip(events, results, strict=True):
            if isinstance(result, OsqueueError):
                self._refuse([event], result)
            else:
                self._end(event, commit, job=result.job_id, answer="deduplicated" if result.deduplicated else None)
        return results, commit

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        arguments = {"worker_id": request.worker_id, "types": list(request.types), "max_jobs": request.max_jobs}
        event = self._begin("claim", request.claim_key, **arguments)
        try:
            claims = await self._inner.claim_jobs(request, timeout_ms=timeout_ms)
        except OsqueueError as error:
            self._refuse([event], error)
            raise
        more = [self._again(event) for _ in claims.jobs[1:]]
        for each, job in zip([event, *more], claims.jobs or [None], strict=True):
            if job is None:
                self._end(each, claims.commit)
            else:
                self._end(each, claims.commit, job=job.job_id, attempt=job.attempt, token=job.lease_token)
        return claims

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[OsqueueError | None], Position | None]:
        events = [
            self._begin_settling("complete", each.job_id, each.lease_token, each.worker_id) for each in completions
        ]
        try:
            results, commit = await self._inner.complete_jobs(completions, request_id=request_id, timeout_ms=timeout_ms)
        except OsqueueError as error:
            self._refuse(events, error)
            raise
        for event, result in zip(events, results, strict=True):
            if isinstance(result, OsqueueError):
                self._refuse([event], result)
            else:
                self._end(event, commit)
        return results, commit

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        event = self._begin_settling("fail", failure.job_id, failure.lease_token, failure.worker_id)
        event.arguments["error"] = failure.error.type
        return await self._settle(event, lambda: self._inner.fail_job(failure, timeout_ms=timeout_ms))

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        event = self._begin_settling("release", release.job_id, release.lease_token, release.worker_id)
        return await self._settle(event, lambda: self._inner.release_job(release, timeout_ms=timeout_ms))

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        event = self._begin("stats", "", linearizable=linearizable)
        try:
            stats = await self._inner.get_stats(linearizable=linearizable, timeout_ms=timeout_ms)
        except OsqueueError as error:
            self._refuse([event], error)
            raise
        counts = stats.counts
        answer = {
            "live": counts.total,
            "submitted": counts.submitted_total,
            "completed": counts.completed_total,
            "cancelled": counts.cancelled_total,
            "dead": counts.dead,
            "died": counts.dead_total,
            "dead_evicted": counts.dead_total - counts.dead,
            "purged": counts.purged_total,
            "claimed": 0,
        }
        self._end(event, stats.position, answer=answer)
        return stats

    # --- writing down ------------------------------------------------------------------------------------------------

    def _begin(self, operation: str, key: str, **arguments: Any) -> Event:
        return self._history.begin(
            self._process, operation, now_ms(), key=key, arguments={**arguments, "address": self.address}
        )

    def _begin_settling(self, operation: str, job_id: str, token: str, worker_id: str) -> Event:
        event = self._begin(operation, token, worker_id=worker_id)
        event.job, event.token = job_id, token
        return event

    def _again(self, event: Event) -> Event:
        return self._history.begin(
            event.process, event.operation, event.invoked, key=event.key, arguments=event.arguments
        )

    async def _settle(self, event: Event, call: Callable[[], Any]) -> Settled:
        try:
            settled: Settled = await call()
        except OsqueueError as error:
            self._refuse([event], error)
            raise
        self._end(event, settled.commit, answer={"status": settled.status})
        return settled

    def _end(self, event: Event, commit: Position | None, **fields: Any) -> None:
        event.returned, event.outcome = now_ms(), OK
        if commit is not None:
            event.epoch, event.sequence = commit
        for name, value in fields.items():
            setattr(event, name, value)
        self._ended(event)

    def _refuse(self, events: Sequence[Event], error: OsqueueError) -> None:
        reason = getattr(error, "reason", "") or type(error).__name__
        for event in events:
            event.returned, event.outcome, event.reason = now_ms(), outcome_of(reason), reason
            self._ended(event)

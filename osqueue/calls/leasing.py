"""A worker's calls. `osqueue.worker.Worker` makes them for you."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osqueue.calls.base import Calls, lease_of, names_of
from osqueue.encoding import to_bytes
from osqueue.failures import describe
from osqueue.job import ClaimedJob, HoldsLease, JobError, JobSpec, LimitBackoff, LimitUsage, Progress
from osqueue.messages import ClaimRequest, Completed, Completion, Failure, Heartbeat, Release, Renewal, Settled
from osqueue.registry import JobType
from osqueue.submission import integer, text

ITEM_BYTES = 256
"""About what a completion or heartbeat takes of a message, beside result and progress."""


class LeaseCalls(Calls):
    """Claiming jobs, keeping them and settling them."""

    async def claim_job(
        self,
        worker_id: str,
        types: Iterable[str | JobType[Any, Any]] = (),
        *,
        wait_ms: int = 0,
        lease_ms: int = 0,
        claim_key: str = "",
    ) -> ClaimedJob | None:
        """Lease the next ready job of these types (none: any), waiting up to wait_ms for one; None: there was none."""
        jobs = await self.claim_jobs(worker_id, types, wait_ms=wait_ms, lease_ms=lease_ms, claim_key=claim_key)
        return jobs[0] if jobs else None

    async def claim_jobs(
        self,
        worker_id: str,
        types: Iterable[str | JobType[Any, Any]] = (),
        *,
        max_jobs: int = 1,
        max_bytes: int = 0,
        wait_ms: int = 0,
        lease_ms: int = 0,
        claim_key: str = "",
        worker_version: str = "",
    ) -> list[ClaimedJob]:
        """Lease up to max_jobs jobs, waiting up to wait_ms for the first.

        The same worker repeating a `claim_key` is given the same leases while they live. Without one, retries within
        the call are still safe. What a call that is cancelled may have leased is given back.
        """
        session = self._open()
        request = ClaimRequest(
            worker_id=text("worker_id", worker_id),
            types=names_of(types),
            claim_key=text("claim_key", claim_key) or session.request_id(),
            wait_ms=integer("wait_ms", wait_ms),
            lease_ms=integer("lease_ms", lease_ms),
            worker_version=text("worker_version", worker_version),
            max_jobs=integer("max_jobs", max_jobs, 2**31 - 1),
            max_bytes=integer("max_bytes", max_bytes),
        )
        timeout_ms = max(wait_ms, 0) + self.options.timeout_ms
        since = session.seen
        try:
            claims = await session.run(lambda: session.transport.claim_jobs(request, timeout_ms=timeout_ms))
        except asyncio.CancelledError:
            session.give_back(request)
            raise
        session.wrote(claims.commit, since)
        return session.codecs.claimed(claims.jobs)

    async def heartbeat(
        self,
        job: HoldsLease,
        *,
        progress: float | None = None,
        message: str = "",
        running_ms: int | None = None,
    ) -> Renewal:
        """Renew a lease, and tell how far the job has come, from 0 to 1.

        `running_ms`: for how long its handler has run, where that began later than the job was claimed; 0: it has not
        begun. The job's timeout_ms is counted from there, at the latest from one lease after the claim.
        `LeaseLostError` and `JobNotFoundError` mean: stop working on it.
        """
        if running_ms is not None:
            integer("running_ms", running_ms)
        said = None if progress is None else Progress(float(progress), text("message", message))
        heartbeat = Heartbeat(*lease_of(job), progress=said, running_ms=running_ms)
        return await self._open().heartbeats.call(heartbeat, ITEM_BYTES + 3 * len(message))

    async def complete_job(
        self,
        job: HoldsLease,
        result: object = None,
        *,
        follow_ups: Sequence[JobSpec] = (),
        usage: Mapping[str, int] | None = None,
        limit_backoff: Mapping[str, int] | None = None,
    ) -> Completed:
        """End the job in success, with what came of it: bytes, or anything JSON can hold; None: without a result.

        `follow_ups` are jobs, made with `new_job`, that are submitted in the very commit of the completion: either both
        are durable or neither is. At most 100. None is submitted when cancellation of the job was requested. `usage`
        says by the names of its limits what the attempt used of their rates, instead of the job's cost, `limit_backoff`
        for how long (ms) nothing of its key of a limit shall start.
        """
        session, lease = self._open(), lease_of(job)
        data = None if result is None else to_bytes(result, "result")
        data = session.codecs.result(data, job.job_id, job.lease_token)
        follow_ups = session.codecs.specs(follow_ups, job.lease_token)
        used, held = usages(usage), backoffs(limit_backoff)
        completion = Completion(*lease, data, follow_ups, used, held)
        if follow_ups:
            return await session.complete_alone(completion)
        return await session.completions.call(completion, ITEM_BYTES if data is None else ITEM_BYTES + len(data))

    async def fail_job(
        self,
        job: HoldsLease,
        error: JobError | BaseException | str,
        *,
        retryable: bool = True,
        retry_delay_ms: int | None = None,
        usage: Mapping[str, int] | None = None,
        limit_backoff: Mapping[str, int] | None = None,
    ) -> Settled:
        """End the attempt in failure; the answer says what the job is now: "unclaimed", "scheduled" or "dead". `usage`
        and `limit_backoff` are as in `complete_job`."""
        session = self._open()
        failure = Failure(
            *lease_of(job), error=describe(error), retryable=retryable, retry_delay_ms=retry_delay_ms,
            request_id=session.request_id(), usage=usages(usage), limit_backoff=backoffs(limit_backoff),
        )  # fmt: skip
        return await session.change(lambda: session.transport.fail_job(failure, timeout_ms=self.options.timeout_ms))

    async def release_job(
        self,
        job: HoldsLease,
        *,
        usage: Mapping[str, int] | None = None,
        limit_backoff: Mapping[str, int] | None = None,
    ) -> Settled:
        """Give the job back unfinished: it is ready at once, and the attempt does not count. What its start took of
        rates is given back, unless `limit_backoff` holds the key: see `complete_job`."""
        session = self._open()
        request_id = session.request_id()
        release = Release(*lease_of(job), request_id, usages(usage), backoffs(limit_backoff))
        return await session.change(lambda: session.transport.release_job(release, timeout_ms=self.options.timeout_ms))


def usages(usage: Mapping[str, int] | None) -> tuple[LimitUsage, ...]:
    """What an attempt used of the rates of its limits, by their names. `BrokerProtocolError` unless it is a number."""
    return tuple(LimitUsage(text("usage", limit), integer("usage", used)) for limit, used in (usage or {}).items())


def backoffs(backoff: Mapping[str, int] | None) -> tuple[LimitBackoff, ...]:
    """For how long (ms) nothing of the job's keys of its limits shall start. Errors as those of `usages`."""
    said = (backoff or {}).items()
    return tuple(LimitBackoff(text("limit_backoff", limit), integer("limit_backoff", ms)) for limit, ms in said)

"""How a worker gets its jobs and gives them back: one interface, so that polling can give way to a stream."""

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from osqueue.errors import INTERNAL, TOO_MANY_REQUESTS, OsqueueError, TransportRequestError
from osqueue.job import ClaimedJob, JobError
from osqueue.messages import Settled
from osqueue.retrying import is_outage

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

T = TypeVar("T")

log = logging.getLogger("osqueue.worker")

LONG_POLL_MS = 20_000
"""How long a claim waits at the broker for a job."""


class Dispatcher(Protocol):
    """Jobs in, outcomes out. What it raises is final: it retries what may pass by itself."""

    async def claim(self, types: Sequence[str], free: int, *, wait: bool) -> list[ClaimedJob]:
        """Up to `free` jobs; waits a while for the first if told to. A cancelled claim leases nothing for long."""
        ...

    async def complete(self, job: ClaimedJob, result: bytes | None) -> None: ...

    async def fail(
        self, job: ClaimedJob, error: JobError, *, retryable: bool, retry_delay_ms: int | None
    ) -> Settled: ...

    async def release(self, job: ClaimedJob) -> Settled: ...


class PollingDispatcher:
    """Claims with long polls, several jobs per call; completions of many jobs travel together."""

    def __init__(self, client: "OsqueueClient", worker_id: str, lease_ms: int, worker_version: str) -> None:
        self._client = client
        self._worker_id = worker_id
        self._lease_ms = lease_ms
        self._worker_version = worker_version
        self._away = False
        self._claim_keys = f"{uuid.uuid4().hex}.", itertools.count(1)

    async def claim(self, types: Sequence[str], free: int, *, wait: bool) -> list[ClaimedJob]:
        prefix, numbers = self._claim_keys
        claim_key = prefix + str(next(numbers))
        wait_ms = LONG_POLL_MS if wait else 0
        return await self._persist(
            lambda: self._claim(types, free, wait_ms, claim_key), "claim jobs", defects_pass=True
        )

    async def complete(self, job: ClaimedJob, result: bytes | None) -> None:
        await self._persist(lambda: self._client.complete_job(job, result), f"complete job {job.job_id}")

    async def fail(self, job: ClaimedJob, error: JobError, *, retryable: bool, retry_delay_ms: int | None) -> Settled:
        return await self._persist(
            lambda: self._client.fail_job(job, error, retryable=retryable, retry_delay_ms=retry_delay_ms),
            f"fail job {job.job_id}",
        )

    async def release(self, job: ClaimedJob) -> Settled:
        return await self._client.release_job(job)

    async def _persist(self, attempt: Callable[[], Awaitable[T]], what: str, defects_pass: bool = False) -> T:
        """Outlast an outage, however long: there is nothing better to do, and leases start anew with a new leader.

        Only when the worker stops is this given up, by cancelling it. `defects_pass`: a defect of the broker, which
        need not be its successor's, is waited out too.
        """
        while True:
            try:
                answer = await attempt()
            except OsqueueError as error:
                if not _may_pass(error) and not (defects_pass and error.reason == INTERNAL):
                    raise
                if not self._away:
                    log.warning("worker %s cannot %s, trying on: %s", self._worker_id, what, error)
                self._away = True
                await asyncio.sleep(self._client.options.retry_delay_ms / 1_000)
                continue
            if self._away:
                log.info("worker %s is back at work", self._worker_id)
            self._away = False
            return answer

    async def _claim(self, types: Sequence[str], free: int, wait_ms: int, claim_key: str) -> list[ClaimedJob]:
        return await self._client.claim_jobs(
            self._worker_id,
            types,
            max_jobs=min(free, 1_000),
            wait_ms=wait_ms,
            lease_ms=self._lease_ms,
            claim_key=claim_key,
            worker_version=self._worker_version,
        )


def _may_pass(error: OsqueueError) -> bool:
    """Whether a worker is right to wait: only what a broker of ours refuses for good is not worth waiting for. A queue
    that is full refuses outcomes for a reason; that its broker is busy passes."""
    if is_outage(error) or error.reason == TOO_MANY_REQUESTS:
        return True
    return isinstance(error, TransportRequestError) and not error.remote_tag

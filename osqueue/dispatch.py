"""How a worker gets its jobs and gives them back: one interface, so that polling can give way to a stream."""

import asyncio
import itertools
import logging
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from osqueue.errors import OsqueueError
from osqueue.job import ClaimedJob, JobError
from osqueue.messages import Settled

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

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
        self._claim_keys = f"{uuid.uuid4().hex}.", itertools.count(1)

    async def claim(self, types: Sequence[str], free: int, *, wait: bool) -> list[ClaimedJob]:
        prefix, numbers = self._claim_keys
        claim_key = prefix + str(next(numbers))
        try:
            return await self._claim(types, free, LONG_POLL_MS if wait else 0, claim_key)
        except asyncio.CancelledError:
            # The answer may have been on its way, with leases that nobody would know of.
            await self._give_back(types, claim_key)
            raise

    async def complete(self, job: ClaimedJob, result: bytes | None) -> None:
        await self._client.complete_job(job, result)

    async def fail(self, job: ClaimedJob, error: JobError, *, retryable: bool, retry_delay_ms: int | None) -> Settled:
        return await self._client.fail_job(job, error, retryable=retryable, retry_delay_ms=retry_delay_ms)

    async def release(self, job: ClaimedJob) -> Settled:
        return await self._client.release_job(job)

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

    async def _give_back(self, types: Sequence[str], claim_key: str) -> None:
        """Repeat the claim by its key, which yields the same leases or at most one new one, and release them."""
        try:
            jobs = await self._claim(types, 1, 0, claim_key)
            await asyncio.gather(*(self.release(job) for job in jobs))
        except OsqueueError as error:  # nothing is lost: leases that nobody renews expire, and their jobs run again
            log.info("could not give back what a cancelled claim may have leased; it expires by itself: %s", error)

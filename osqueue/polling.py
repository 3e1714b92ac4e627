"""Jobs by claiming: a worker asks for as many as it has room for, and waits at the broker while there are none."""

import asyncio
import itertools
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from osqueue.dispatch import Patience, Taker
from osqueue.job import ClaimedJob, JobError, JobSpec
from osqueue.messages import ClaimRequest, Completed, Settled
from osqueue.transports.protocol import Transport

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

LONG_POLL_MS = 20_000
"""How long a claim waits at the broker for a job."""

ASK_MS = 5_000
"""How long asking what a claim has leased may take."""

Claiming = Callable[..., Awaitable[list[ClaimedJob]]]


async def poll(taker: Taker, claim: Claiming, *, until_idle: bool) -> None:
    """Claim as many jobs as the taker wants, again and again, until cancelled or, if told so, until all is done."""
    clock = asyncio.get_running_loop().time
    while True:
        wanted = await taker.wanted()
        asked = clock()
        jobs = await claim(taker.types, wanted, wait=not until_idle)
        # A claim that brought less than it could may have waited for jobs: it says nothing about the way.
        taker.take(jobs, clock() - asked if len(jobs) == wanted else None)
        if not jobs and until_idle:
            if not taker.unsettled:
                return
            await taker.change()


class UnheardClaim:
    """A claim under way. While the event loop is blocked, another thread asks in its place what it has leased.

    Whoever hears of a job first has it: the event loop, to run it, or the other thread, to give it back.
    """

    def __init__(self, request: ClaimRequest) -> None:
        self._asked = False
        self._request = replace(request, max_jobs=1, wait_ms=0)
        """Repeated by its key it yields what was leased before, or at most one other job."""
        self._lock = threading.Lock()
        self._begun: frozenset[str] = frozenset()
        self._withdrawn: frozenset[str] = frozenset()

    def heard(self, jobs: list[ClaimedJob]) -> list[ClaimedJob]:
        """In the event loop: those of the answer's jobs that are to be run."""
        with self._lock:
            self._begun = frozenset(job.lease_token for job in jobs) - self._withdrawn
        return [job for job in jobs if job.lease_token in self._begun]

    def ask(self) -> bool:
        """Whether it is to be asked: not while it is, nor when that has brought jobs."""
        asked, self._asked = self._asked, True
        return not asked

    async def leased(self, transport: Transport) -> Sequence[ClaimedJob]:
        """In the other thread: those of its jobs that are to be given back."""
        jobs: list[ClaimedJob] = []
        try:
            claims = await transport.claim_jobs(self._request, timeout_ms=ASK_MS)
            with self._lock:
                jobs = [job for job in claims.jobs if job.lease_token not in self._begun]
                self._withdrawn |= {job.lease_token for job in jobs}
        finally:
            self._asked = bool(jobs)
        return jobs

    def given_back(self) -> None:
        """The event loop has not heard of them, and need not."""


class PollingDispatcher:
    """Claims with long polls, several jobs per call; completions of many jobs travel together."""

    def __init__(self, client: "OsqueueClient", worker_id: str, lease_ms: int, worker_version: str) -> None:
        self._client = client
        self._worker_id = worker_id
        self._lease_ms = lease_ms
        self._worker_version = worker_version
        self._patience = Patience(worker_id, client.options.retry_delay_ms / 1_000)
        self._claim_keys = f"{uuid.uuid4().hex}.", itertools.count(1)
        self._unheard: set[UnheardClaim] = set()

    async def feed(self, taker: Taker, *, until_idle: bool) -> None:
        await poll(taker, self.claim, until_idle=until_idle)

    async def claim(self, types: Sequence[str], free: int, *, wait: bool) -> list[ClaimedJob]:
        """Up to `free` jobs; waits a while for the first if told to. A cancelled claim leases nothing for long."""
        prefix, numbers = self._claim_keys
        request = ClaimRequest(
            worker_id=self._worker_id,
            types=tuple(types),
            claim_key=prefix + str(next(numbers)),
            wait_ms=LONG_POLL_MS if wait else 0,
            lease_ms=self._lease_ms,
            worker_version=self._worker_version,
            max_jobs=min(free, 1_000),
        )
        unheard = UnheardClaim(request)
        self._unheard.add(unheard)
        try:
            claiming = self._patience.persist(lambda: self._claim(request), "claim jobs", defects_pass=True)
            return unheard.heard(await claiming)
        finally:
            self._unheard.discard(unheard)

    def held_up(self) -> Iterable[UnheardClaim]:
        return [claim for claim in list(self._unheard) if claim.ask()]

    async def complete(
        self, job: ClaimedJob, result: bytes | None, follow_ups: Sequence[JobSpec], usage: Mapping[str, int]
    ) -> Completed:
        return await self._patience.persist(
            lambda: self._client.complete_job(job, result, follow_ups=follow_ups, usage=usage),
            f"complete job {job.job_id}",
        )

    async def fail(
        self,
        job: ClaimedJob,
        error: JobError,
        *,
        retryable: bool,
        retry_delay_ms: int | None,
        usage: Mapping[str, int],
    ) -> Settled:
        return await self._patience.persist(
            lambda: self._client.fail_job(job, error, retryable=retryable, retry_delay_ms=retry_delay_ms, usage=usage),
            f"fail job {job.job_id}",
        )

    async def release(self, job: ClaimedJob, limit_backoff: Mapping[str, int] | None = None) -> Settled:
        return await self._client.release_job(job, limit_backoff=limit_backoff)

    async def close(self, spare_s: float) -> None:
        """Each of its calls is over when it is answered."""

    async def _claim(self, request: ClaimRequest) -> list[ClaimedJob]:
        return await self._client.claim_jobs(
            request.worker_id,
            request.types,
            max_jobs=request.max_jobs,
            wait_ms=request.wait_ms,
            lease_ms=request.lease_ms,
            claim_key=request.claim_key,
            worker_version=request.worker_version,
        )

"""One client's life in one process and one event loop: its transport, its retries and its batches."""

import asyncio
import itertools
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from osqueue.coalescing import BATCH_BYTES, BATCH_ITEMS, FLIGHTS, SPACING_MS, Coalescer
from osqueue.codecs.pipeline import Pipeline
from osqueue.errors import BrokerLeadershipError, OsqueueError
from osqueue.job import JobSpec, Position
from osqueue.messages import ClaimRequest, Completed, Completion, Heartbeat, Release, Renewal, Submitted
from osqueue.retrying import Retrying, RetryOptions
from osqueue.transports.protocol import Transport

log = logging.getLogger("osqueue.client")

T = TypeVar("T")
R = TypeVar("R")

UNCOALESCED_FLIGHTS = 10_000


class _Change(Protocol):
    @property
    def commit(self) -> Position | None: ...


C = TypeVar("C", bound=_Change)


class Session:
    """Everything of a client that cannot be shared between loops or survive a fork."""

    def __init__(self, transport: Transport, options: RetryOptions, coalesce: bool, codecs: Pipeline) -> None:
        self.transport = transport
        self.codecs = codecs
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self.retrying = Retrying(options)
        self.timeout_ms = options.timeout_ms
        self._ids = f"{uuid.uuid4().hex}.", itertools.count(1)
        self._seen = Position(0, 0)
        self._background: set[asyncio.Task[None]] = set()
        limits = (BATCH_ITEMS, FLIGHTS, SPACING_MS) if coalesce else (1, UNCOALESCED_FLIGHTS, 0)
        batch_items, flights, spacing_ms = limits

        def coalescer(send: Callable[[list[T]], Awaitable[Sequence[R | OsqueueError]]]) -> Coalescer[T, R]:
            return Coalescer(send, batch_items=batch_items, flights=flights, spacing_ms=spacing_ms)

        self.submits: Coalescer[JobSpec, Submitted] = coalescer(self._submit)
        self.completions: Coalescer[Completion, Completed] = coalescer(self._complete)
        self.heartbeats: Coalescer[Heartbeat, Renewal] = coalescer(self._heartbeat)

    @property
    def coalescers(self) -> tuple[Coalescer[Any, Any], ...]:
        """All of them, for counting and closing."""
        return self.submits, self.completions, self.heartbeats

    def is_current(self) -> bool:
        """It belongs to the running process and loop."""
        return self.loop is asyncio.get_running_loop() and self.pid == os.getpid()

    def request_id(self) -> str:
        """A name for one call, the same in all its retries."""
        prefix, numbers = self._ids
        return prefix + str(next(numbers))

    async def run(
        self, attempt: Callable[[], Awaitable[T]], deadline_ms: float | None = None, *, changes: bool = False
    ) -> T:
        """The call's answer, after as many attempts as the options allow. `changes`: it may change something."""
        return await self.retrying.run(attempt, deadline_ms, changes=changes)

    async def change(self, attempt: Callable[[], Awaitable[C]]) -> C:
        """The answer to a call that changes something, its commit remembered."""
        since = self._seen
        answer = await self.run(attempt, changes=True)
        self.wrote(answer.commit, since)
        return answer

    @property
    def seen(self) -> Position:
        """The highest position that an answer has told."""
        return self._seen

    def wrote(self, commit: Position | None, since: Position) -> None:
        """Remember where a change became durable. A lower position than was seen before the call (`since`) is that of
        another queue: the storage was replaced, and what was seen no longer counts. Answers to calls that were under
        way together may overtake each other."""
        if commit is not None:
            self._seen = commit if commit < since else max(self._seen, commit)

    def read(self, position: Position | None, since: Position) -> None:
        """Refuse an answer that shows less than was seen before the call (`since`): a broker gave it that leads no
        longer. What others heard meanwhile it need not show."""
        if position is None:
            return
        if position < since:
            raise BrokerLeadershipError(
                f"{self.transport.address} answered as of {position}, but {since} was seen already: it does not "
                "lead any more. If the storage was replaced, make a new client"
            )
        self._seen = max(self._seen, position)

    def heard(self, position: Position | None) -> None:
        """Refuse what a broker said of leases that led before one heard of already: it may not know of them. While one
        leads its answers may overtake each other, so only its epoch counts."""
        if position is not None and position.epoch < self._seen.epoch:
            raise BrokerLeadershipError(
                f"{self.transport.address} answered as the leader of epoch {position.epoch}, and epoch "
                f"{self._seen.epoch} was seen already: it does not lead any more"
            )

    async def submit_all(self, jobs: list[JobSpec]) -> Sequence[Submitted | OsqueueError]:
        """Put all of the jobs into the queue, or none."""
        return await self._submit(jobs, atomic=True) if jobs else ()

    async def submit_each(self, jobs: list[JobSpec]) -> Sequence[Submitted | OsqueueError]:
        """Put the jobs into the queue, each for itself, in as many batches as it takes."""
        answers: list[Submitted | OsqueueError] = []
        batch: list[JobSpec] = []
        batch_bytes = 0
        for job in jobs:
            size = job.wire_bytes
            if batch and (len(batch) == BATCH_ITEMS or batch_bytes + size > BATCH_BYTES):
                answers += await self._submit(batch)
                batch, batch_bytes = [], 0
            batch.append(job)
            batch_bytes += size
        if batch:
            answers += await self._submit(batch)
        return answers

    async def _submit(self, jobs: list[JobSpec], atomic: bool = False) -> Sequence[Submitted | OsqueueError]:
        request_id, since = self.request_id(), self._seen
        results, commit = await self.run(
            lambda: self.transport.submit_jobs(jobs, atomic=atomic, request_id=request_id, timeout_ms=self.timeout_ms),
            changes=True,
        )
        self.wrote(commit, since)
        return results

    def give_back(self, request: ClaimRequest) -> None:
        """The caller of this claim has given it up. Its answer may have been on its way, with leases that nobody would
        know of: repeated by its key it yields them, or at most one other job, to be released."""
        task = asyncio.ensure_future(self._give_back(replace(request, max_jobs=1, wait_ms=0)))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _give_back(self, request: ClaimRequest) -> None:
        transport, timeout_ms = self.transport, self.timeout_ms
        try:
            claims = await self.run(lambda: transport.claim_jobs(request, timeout_ms=timeout_ms), timeout_ms)
            for job in claims.jobs:
                release = Release(job.job_id, job.worker_id, job.lease_token, self.request_id())
                await self.run(partial(transport.release_job, release, timeout_ms=timeout_ms), timeout_ms)
        except OsqueueError as error:  # nothing is lost: leases that nobody renews expire, and their jobs run again
            log.info("could not give back what a cancelled claim may have leased; it expires by itself: %s", error)

    async def close(self) -> None:
        """Answer what is under way, within one call's time, and disconnect."""
        try:
            async with asyncio.timeout(self.timeout_ms / 1_000):
                await asyncio.gather(*(coalescer.drain() for coalescer in self.coalescers), *self._background)
        except TimeoutError:  # the callers that still wait are told by close()
            pass
        for task in self._background:
            task.cancel()
        for coalescer in self.coalescers:
            coalescer.close()
        await self.transport.close()

    async def complete_alone(self, completion: Completion) -> Completed:
        """A completion that shares its call with no other: it has follow-ups, and a call takes a thousand of them."""
        (answer,) = await self._complete([completion])
        if isinstance(answer, OsqueueError):
            raise answer
        return answer

    async def _complete(self, completions: list[Completion]) -> Sequence[Completed | OsqueueError]:
        request_id, since = self.request_id(), self._seen
        results, commit = await self.run(
            lambda: self.transport.complete_jobs(completions, request_id=request_id, timeout_ms=self.timeout_ms),
            changes=True,
        )
        self.wrote(commit, since)
        return results

    async def _heartbeat(self, heartbeats: list[Heartbeat]) -> Sequence[Renewal | OsqueueError]:
        async def fresh() -> Sequence[Renewal | OsqueueError]:
            results, position = await self.transport.heartbeat_jobs(heartbeats, timeout_ms=self.timeout_ms)
            self.heard(position)
            return results

        return await self.run(fresh)

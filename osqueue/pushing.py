"""Jobs by being sent them: a worker's side of its Work streams.

The streams live in the lease keeper's thread, which no handler can hold up: what arrives while
the event loop is blocked is given back from there, and the broker told that there is no slot.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from osqueue.calls.leasing import backoffs, usages
from osqueue.dispatch import HeldUp, Patience, Taker
from osqueue.errors import OsqueueError
from osqueue.failures import describe
from osqueue.job import ClaimedJob, JobError, JobSpec, Position
from osqueue.leases import LeaseKeeper, release
from osqueue.messages import Completed, Completion, Failure, Release, Settled
from osqueue.polling import PollingDispatcher
from osqueue.transports.protocol import Transport
from osqueue.work_stream import Answer, Outcome, WorkStream, given_back

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient
    from osqueue.session import Session

log = logging.getLogger("osqueue.worker")

CLOSE_S = 0.75
"""How long a stopping worker waits at least for its streams to end: what is on its way to it has no other way back.
With the other waits of a drain it stays below 25 s."""

LOOK_S = 0.5
"""How often a worker that runs until it is idle looks whether it is."""

_BEGINNING = Position(0, 0)


class PushingDispatcher:
    """One Work stream for each taker. Jobs that were claimed otherwise are settled by single calls."""

    def __init__(
        self, client: "OsqueueClient", worker_id: str, lease_ms: int, worker_version: str, keeper: LeaseKeeper
    ) -> None:
        self._client = client
        self._session: Session = client._open()
        self._opening = worker_id, lease_ms, worker_version
        self._keeper = keeper
        self._single = PollingDispatcher(client, worker_id, lease_ms, worker_version)
        self._patience = Patience(worker_id, client.options.retry_delay_ms / 1_000)
        keeper.release_by(self._give_back)
        keeper.calm_while(lambda: not any(fed.waiting for fed in list(self._streams)))
        self._streams: list[_Fed] = []
        self._fed: dict[str, _Fed] = {}
        """By lease token: which stream a job that is not settled came on."""

    async def feed(self, taker: Taker, *, until_idle: bool) -> None:
        fed = _Fed(self, taker)
        self._streams.append(fed)
        try:
            while not fed.ended.done():
                fed.stream.resize(taker.room)
                if until_idle and not taker.unsettled and fed.stream.opened and not fed.waiting:
                    jobs = await self._single.claim(taker.types, 1, wait=False)
                    taker.take(jobs, None)
                    if not taker.unsettled and not await self._holds_any(taker) and not fed.waiting:
                        return
                changed = asyncio.ensure_future(taker.change())
                try:
                    await asyncio.wait(
                        {changed, fed.ended, fed.heard()},
                        timeout=LOOK_S if until_idle else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    changed.cancel()
            fed.ended.result()
        finally:
            fed.drain()

    async def _holds_any(self, taker: Taker) -> bool:
        """Whether a job of the taker is on its way here: a claim for the next one finds none then, either."""

        async def first() -> bool:
            jobs = self._client.list_jobs(
                worker_id=self._opening[0], statuses=["in_progress"], types=taker.types, page_size=1
            )
            async for _ in jobs:
                return True
            return False

        return await self._patience.persist(first, "see what it holds", defects_pass=True)

    def held_up(self) -> Iterable[HeldUp]:
        for fed in list(self._streams):
            fed.hold_off()
        return ()

    def complete(
        self, job: ClaimedJob, result: bytes | None, follow_ups: Sequence[JobSpec], usage: Mapping[str, int]
    ) -> Awaitable[Completed]:
        fed = self._fed.get(job.lease_token)
        if fed is None:
            return self._single.complete(job, result, follow_ups, usage)
        codecs = self._session.codecs
        result = codecs.result(result, job.job_id, job.lease_token)
        follow_ups = codecs.specs(follow_ups, job.lease_token)
        return fed.settle(job, Completion(job.job_id, "", job.lease_token, result, follow_ups, usages(usage)))

    def fail(
        self,
        job: ClaimedJob,
        error: JobError,
        *,
        retryable: bool,
        retry_delay_ms: int | None,
        usage: Mapping[str, int],
    ) -> Awaitable[Settled]:
        fed = self._fed.get(job.lease_token)
        if fed is None:
            return self._single.fail(job, error, retryable=retryable, retry_delay_ms=retry_delay_ms, usage=usage)
        failure = Failure(
            job.job_id, "", job.lease_token, describe(error), retryable, retry_delay_ms, usage=usages(usage)
        )
        return fed.settle(job, failure)

    def release(self, job: ClaimedJob, limit_backoff: Mapping[str, int] | None = None) -> Awaitable[Settled]:
        fed = self._fed.get(job.lease_token)
        if fed is None:
            return self._single.release(job, limit_backoff)
        return fed.settle(job, Release(job.job_id, "", job.lease_token, limit_backoff=backoffs(limit_backoff)))

    async def _give_back(self, job: ClaimedJob, transport: Transport) -> None:
        """In the keeper's thread. On the stream, whose slot it takes."""
        fed = self._fed.get(job.lease_token)
        if fed is None:
            await release(job, transport)
        else:
            fed.stream.settle(given_back(job))

    async def close(self, spare_s: float) -> None:
        ends = [fed.ended for fed in self._streams if fed.stream.talking]
        if ends:
            await asyncio.wait(ends, timeout=CLOSE_S + spare_s)
        for fed in self._streams:
            fed.ended.cancel()


class _Fed:
    """A taker, its stream, and what passes between their threads."""

    def __init__(self, dispatcher: PushingDispatcher, taker: Taker) -> None:
        self._dispatcher = dispatcher
        self._taker = taker
        self._loop = asyncio.get_running_loop()
        self._draining = False
        self._arrival: asyncio.Future[None] | None = None
        self.stream = WorkStream(
            dispatcher._opening,
            taker.types,
            taker.room,
            self._on_news,
            dispatcher._keeper.notice,
            dispatcher._session.heard,
            dispatcher._patience,
        )
        self.ended = asyncio.wrap_future(dispatcher._keeper.host(self.stream.run))

    @property
    def waiting(self) -> bool:
        """Jobs have arrived that the taker has not been given."""
        return bool(self.stream.arrived)

    def heard(self) -> "asyncio.Future[None]":
        """Done when something arrives next."""
        if self._arrival is None or self._arrival.done():
            self._arrival = self._loop.create_future()
        return self._arrival

    # --- in the worker's loop ----------------------------------------------------------------------------------------

    def settle(self, job: ClaimedJob, message: Completion | Failure | Release) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        self.stream.settle(Outcome(job, message, future))
        return future

    def drain(self) -> None:
        """Take no more jobs; what has arrived goes back."""
        self._draining = True
        self.stream.drain()
        self._take()

    def _take(self) -> None:
        stream = self.stream
        jobs: list[ClaimedJob] = []
        while stream.arrived:
            try:
                jobs.append(stream.arrived.popleft())
            except IndexError:  # another thread gives the rest back
                break
        if self._draining:
            for job in jobs:
                stream.settle(given_back(job))
        elif jobs:
            fed = self._dispatcher._fed
            for job in jobs:
                fed[job.lease_token] = self
            self._dispatcher._session.codecs.claimed(jobs)
            self._taker.take(jobs, stream.way_s)
            stream.resize(self._taker.room)

    def _hear(self) -> None:
        """Something has arrived."""
        self.stream.telling = False
        if self.stream.commit is not None:
            self._dispatcher._session.wrote(self.stream.commit, _BEGINNING)
        answers = self.stream.answers
        while answers:
            outcome, answer = answers.popleft()
            self._answer(outcome, answer)
        self._take()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _answer(self, outcome: Outcome, answer: Answer) -> None:
        if not isinstance(answer, OsqueueError):
            self._dispatcher._fed.pop(outcome.job.lease_token, None)
        future = outcome.future
        if future is None or future.done():
            return
        if isinstance(answer, OsqueueError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    # --- in the keeper's thread --------------------------------------------------------------------------------------

    def hold_off(self) -> None:
        """The worker's loop is blocked: what it has not taken goes back, and nothing more is to come."""
        self.stream.hold_off()
        self._call(self.stream.go_on)

    def _on_news(self) -> None:
        self._dispatcher._keeper.look()
        self._call(self._hear)

    def _call(self, what: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

"""An observer's calls. They never show less than an earlier answer did."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar, Unpack

from osqueue.calls.base import Calls, names_of
from osqueue.errors import OsqueueError
from osqueue.job import FilterOptions, Job, Position
from osqueue.messages import (
    Explanation,
    Info,
    InfoRequest,
    JobEvent,
    JobOrder,
    JobView,
    ListRequest,
    Resync,
    WatchRequest,
)
from osqueue.registry import JobType
from osqueue.session import Session
from osqueue.stats import Stats
from osqueue.submission import job_filter, text

WAIT_SLICE_MS = 30_000
"""One WaitJob call waits this long; a longer wait is several of them."""


class _Read(Protocol):
    @property
    def position(self) -> Position | None: ...


A = TypeVar("A", bound=_Read)


class ReadCalls(Calls):
    """Jobs, lists, statistics and events."""

    async def get_job(self, job_id: str, *, linearizable: bool = False) -> Job:
        """One job with its attempts, result or error. `JobNotFoundError` when there is none, or no longer."""
        session = self._open()
        text("job_id", job_id)
        timeout_ms = self.options.timeout_ms
        answer = await read(
            session,
            lambda: session.transport.get_job(job_id, linearizable=linearizable, timeout_ms=timeout_ms),
        )
        return session.codecs.job(answer.job)

    async def wait_job(self, job_id: str, timeout_ms: int | None = None) -> Job:
        """The job as soon as it is finished, or as it is when the time is over. Without a timeout: until it is."""
        session = self._open()
        text("job_id", job_id)
        ends = None if timeout_ms is None else time.monotonic() + timeout_ms / 1_000
        while True:
            left_ms = None if ends is None else max(0, round((ends - time.monotonic()) * 1_000))
            job = await self._wait_slice(session, job_id, left_ms)
            if job.finished or left_ms == 0:
                return job

    async def _wait_slice(self, session: Session, job_id: str, left_ms: int | None) -> Job:
        wait_ms = WAIT_SLICE_MS if left_ms is None else min(left_ms, WAIT_SLICE_MS)
        timeout_ms = wait_ms + self.options.timeout_ms
        answer = await read(
            session,
            lambda: session.transport.wait_job(job_id, wait_ms=wait_ms, timeout_ms=timeout_ms),
            None if left_ms is None else left_ms + self.options.timeout_ms,
        )
        return session.codecs.job(answer.job)

    async def list_jobs(
        self,
        *,
        view: JobView = "",
        page_size: int = 0,
        linearizable: bool = False,
        order: JobOrder = "oldest",
        **filters: Unpack[FilterOptions],
    ) -> AsyncIterator[Job]:
        """All jobs that match (by default the live ones), read page by page as you iterate.

        `order`: "oldest" or "newest" submitted first, or "soonest", of scheduled jobs, by the time at which they run.
        `view` "basic" leaves out payload, result and history, "full" has them all, "" all but result and history.
        """
        wanted = job_filter(filters)
        session = self._open()
        request = ListRequest(None if wanted.is_empty else wanted, view, page_size, "", linearizable, order)
        timeout_ms = self.options.timeout_ms
        while True:
            page = await read(session, lambda: session.transport.list_jobs(request, timeout_ms=timeout_ms))
            for job in page.jobs:
                yield session.codecs.job(job)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_stats(self, *, linearizable: bool = False) -> Stats:
        """How many jobs there are, how old the oldest ready one is, how fast they flow."""
        session = self._open()
        timeout_ms = self.options.timeout_ms
        return await read(
            session, lambda: session.transport.get_stats(linearizable=linearizable, timeout_ms=timeout_ms)
        )

    async def get_info(self) -> Info:
        """Which broker answers: its release, the fields that it understands, whether it leads. A standby may answer."""
        session = self._open()
        timeout_ms = self.options.timeout_ms
        return await session.run(lambda: session.transport.ask(InfoRequest(), timeout_ms=timeout_ms))

    async def explain_job(self, job_id: str) -> Explanation:
        """Why a job is not running."""
        session = self._open()
        text("job_id", job_id)
        timeout_ms = self.options.timeout_ms
        return await read(session, lambda: session.transport.explain_job(job_id, timeout_ms=timeout_ms))

    async def watch(
        self,
        *,
        job_ids: Iterable[str] = (),
        types: Iterable[str | JobType[Any, Any]] = (),
        stats_interval_ms: int = 0,
        after: Position | None = None,
    ) -> AsyncIterator[JobEvent | Stats | Resync]:
        """What happens to jobs, as it becomes durable, and statistics at an interval (0: none).

        It survives reconnections. Where events were lost, or may have been, a `Resync` says so: list again, then go on.
        """
        session = self._open()
        ids = [text("job_ids", job_id) for job_id in job_ids]
        request = WatchRequest(ids, names_of(types), stats_interval_ms, after)
        failures = 0
        last_success = time.monotonic()
        while True:
            try:
                async for frame in session.transport.watch_jobs(request):
                    failures = 0
                    last_success = time.monotonic()
                    request.after = frame.position or request.after
                    if frame.resync is not None:
                        yield frame.resync
                    for event in frame.events:
                        yield event
                    if frame.stats is not None:
                        yield frame.stats
                # The broker ended the stream: it stops or steps down.
            except OsqueueError as error:
                elapsed_ms = (time.monotonic() - last_success) * 1_000
                if session.retrying.pause_ms(error, failures, elapsed_ms) is None:
                    raise
            failures += 1
            await session.retrying.pause(failures)
            if request.after is None:
                yield Resync("gap", "the connection broke before there was a position to go on from")


async def read(session: Session, attempt: Callable[[], Awaitable[A]], deadline_ms: float | None = None) -> A:
    """The call's answer, never one that shows less than an earlier answer did."""

    async def fresh() -> A:
        since = session.seen
        answer = await attempt()
        session.read(answer.position, since)
        return answer

    return await session.run(fresh, deadline_ms)

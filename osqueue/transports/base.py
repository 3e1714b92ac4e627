"""A transport of one's own in seven methods.

    class OverNats(BaseTransport):
        def __init__(self, url: str) -> None: ...               # connects with its first call

        async def submit_jobs(self, jobs, *, atomic, request_id, timeout_ms): ...
        async def claim_jobs(self, request, *, timeout_ms): ...
        async def heartbeat_jobs(self, heartbeats, *, timeout_ms): ...
        async def complete_jobs(self, completions, *, request_id, timeout_ms): ...
        async def fail_job(self, failure, *, timeout_ms): ...
        async def release_job(self, release, *, timeout_ms): ...
        async def get_job(self, job_id, *, linearizable, timeout_ms): ...

    client = OsqueueClient(transport=OverNats("nats://localhost"))

That is enough to produce, to work and to wait for results. Each makes one attempt: it answers, or raises an
`OsqueueError`; the client repeats what may pass, with the same request_id. Calls that are not written are refused with
a `TransportConfigError` that names them. A transport that carries the API's messages needs two methods only: see `Link`
in `osqueue.transports.wire`.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, TypeVar

from osqueue.errors import OsqueueError, TransportConfigError
from osqueue.job import JobSpec, Position
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
    JobPage,
    ListRequest,
    Question,
    Release,
    Renewal,
    Selection,
    Settled,
    Submitted,
    Update,
    WatchFrame,
    WatchRequest,
)
from osqueue.stats import Stats

A = TypeVar("A")

LOOK_S = 0.05
LOOK_MAX_S = 1.0
"""How long a wait for a job's end pauses before it looks again: twice as long each time."""


class BaseTransport(ABC):
    """A `Transport` in which only the calls of producers and workers are to be written."""

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        made = super().__new__(cls)
        made._made_with = args, options
        return made

    @property
    def name(self) -> str:
        """What it is, for people: the name of its class."""
        return type(self).__name__

    @property
    def address(self) -> str:
        """Where it leads at the moment, for people and error messages."""
        return ""

    def clone(self) -> Self:
        """Another one, made of the same arguments; a worker renews its leases over it, in another event loop. Write
        your own where the arguments are what is connected."""
        args, options = self._made_with
        return type(self)(*args, **options)

    async def close(self) -> None:  # noqa: B027 - many have nothing to close
        """Close its connections; idempotent."""

    @abstractmethod
    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        """Put 1 to 1,000 jobs into the queue: all or none when atomic, else each for itself."""

    @abstractmethod
    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        """Lease up to max_jobs jobs, waiting at most wait_ms for the first."""

    @abstractmethod
    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        """Renew 1 to 1,000 leases."""

    @abstractmethod
    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Completed | OsqueueError], Position | None]:
        """Complete 1 to 1,000 jobs."""

    @abstractmethod
    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        """End an attempt in failure."""

    @abstractmethod
    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        """Give a job back."""

    @abstractmethod
    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        """One job, in full."""

    # --- what stands on these, or need not be there ------------------------------------------------------------------

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        """The job once it is finished, or as it is when wait_ms are over: it is looked at again and again."""
        ends = time.monotonic() + wait_ms / 1_000
        pause_s = LOOK_S
        while True:
            answer = await self.get_job(job_id, linearizable=False, timeout_ms=timeout_ms)
            left_s = ends - time.monotonic()
            if answer.job.finished or left_s <= 0:
                return answer
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LOOK_MAX_S)

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        """One page of jobs."""
        raise self._missing("list_jobs")

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        """The statistics."""
        raise self._missing("get_stats")

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        """Cancel one job, or ask its worker to stop."""
        raise self._missing("cancel_job")

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Cancel up to 1,000 of the selected jobs."""
        raise self._missing("cancel_jobs")

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Make up to 1,000 of the selected dead jobs ready again."""
        raise self._missing("retry_jobs")

    async def update_jobs(self, update: Update, *, timeout_ms: int) -> ChangePage:
        """Change up to 1,000 of the selected jobs that wait."""
        raise self._missing("update_jobs")

    async def run_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        """Let up to 1,000 of the selected jobs run now that wait for their time."""
        raise self._missing("run_jobs")

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        """Why a job is not running."""
        raise self._missing("explain_job")

    async def ask(self, question: Question[A], *, timeout_ms: int) -> A:
        """The answer to a question, whichever RPC it is for."""
        raise self._missing(f"ask, and so no answer to {type(question).__name__}")

    async def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        """Events as they become durable."""
        raise self._missing("watch_jobs")
        yield  # a generator, as it is in transports that have it

    def _missing(self, call: str) -> TransportConfigError:
        return TransportConfigError(f"the transport {self.name!r} has no {call}")

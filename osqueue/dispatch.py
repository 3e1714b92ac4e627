"""How a worker gets its jobs and gives them back: one interface, over which jobs are claimed (`osqueue.polling`) or
pushed (`osqueue.pushing`)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from osqueue.errors import INTERNAL, TOO_MANY_REQUESTS, OsqueueError, TransportRequestError
from osqueue.job import ClaimedJob, JobError, JobSpec
from osqueue.messages import Completed, Settled
from osqueue.retrying import is_outage
from osqueue.transports.protocol import Transport

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient
    from osqueue.leases import LeaseKeeper

T = TypeVar("T")

log = logging.getLogger("osqueue.worker")


class Taker(Protocol):
    """Slots for jobs of some types, as a dispatcher sees them."""

    types: tuple[str, ...]
    unsettled: int
    """Its jobs whose outcome has not arrived."""

    @property
    def room(self) -> int:
        """How many jobs it may hold at once: those that run, and those that wait for a slot."""
        ...

    async def wanted(self) -> int:
        """How many jobs there is room for, once that is worth a call."""
        ...

    def take(self, jobs: Sequence[ClaimedJob], way_s: float | None) -> None:
        """Run these. `way_s`: how long it takes from one job's end until the next one is here, if that is known."""
        ...

    async def change(self) -> None:
        """Returns when a slot is free or an outcome has arrived."""
        ...


class HeldUp(Protocol):
    """What waits for the worker's event loop, which is blocked."""

    async def leased(self, transport: Transport) -> Sequence[ClaimedJob]:
        """The jobs to give back, which the worker will not begin. In the keeper's thread."""
        ...

    def given_back(self) -> None:
        """They are. In the worker's event loop, when it turns again."""
        ...


class Dispatcher(Protocol):
    """Jobs in, outcomes out. What it raises is final: it retries what may pass by itself."""

    async def feed(self, taker: Taker, *, until_idle: bool) -> None:
        """Hand jobs to the taker until cancelled or, if told so, until none is ready and all are settled."""
        ...

    def held_up(self) -> Iterable[HeldUp]:
        """The event loop is blocked: what it has not heard of yet, to be given back. In the keeper's thread."""
        ...

    def complete(
        self, job: ClaimedJob, result: bytes | None, follow_ups: Sequence[JobSpec], usage: Mapping[str, int]
    ) -> Awaitable[Completed]:
        """Returns when the completion is durable."""
        ...

    def fail(
        self,
        job: ClaimedJob,
        error: JobError,
        *,
        retryable: bool,
        retry_delay_ms: int | None,
        usage: Mapping[str, int],
    ) -> Awaitable[Settled]:
        """Returns when the failure is durable."""
        ...

    def release(self, job: ClaimedJob, limit_backoff: Mapping[str, int] | None = None) -> Awaitable[Settled]:
        """Returns when the job is given back."""
        ...

    async def close(self, spare_s: float) -> None:
        """No job is left, and none is wanted. What is on its way goes back, which may take `spare_s` more."""
        ...


def dispatcher(
    client: "OsqueueClient", worker_id: str, lease_ms: int, worker_version: str, keeper: "LeaseKeeper"
) -> Dispatcher:
    """Jobs are pushed where the client's transport can carry that, and claimed where not."""
    if hasattr(client._open().transport, "work"):
        from osqueue.pushing import PushingDispatcher

        return PushingDispatcher(client, worker_id, lease_ms, worker_version, keeper)
    from osqueue.polling import PollingDispatcher

    return PollingDispatcher(client, worker_id, lease_ms, worker_version)


class Patience:
    """Outlasts an outage, however long: there is nothing better to do, and leases start anew with a new leader. Only
    when the worker stops is this given up, by cancelling it."""

    def __init__(self, worker_id: str, pause_s: float) -> None:
        self._worker_id = worker_id
        self.pause_s = pause_s
        self._away = False

    async def persist(self, attempt: Callable[[], Awaitable[T]], what: str, defects_pass: bool = False) -> T:
        """The attempt's answer, as soon as there is one. `defects_pass`: a defect of the broker, which need not be its
        successor's, is waited out too."""
        while True:
            try:
                answer = await attempt()
            except OsqueueError as error:
                if not may_pass(error, defects_pass=defects_pass):
                    raise
                self.failed(what, error)
                await asyncio.sleep(self.pause_s)
                continue
            self.succeeded()
            return answer

    def failed(self, what: str, error: OsqueueError) -> None:
        """Say so, once per outage."""
        if not self._away:
            log.warning("worker %s cannot %s, trying on: %s", self._worker_id, what, error)
        self._away = True

    def succeeded(self) -> None:
        """Whatever it was is over."""
        if self._away:
            log.info("worker %s is back at work", self._worker_id)
        self._away = False


def may_pass(error: OsqueueError, *, defects_pass: bool = False) -> bool:
    """Whether a worker is right to wait: only what a broker of ours refuses for good is not worth waiting for. A queue
    that is full refuses outcomes for a reason; that its broker is busy passes."""
    if is_outage(error) or error.reason == TOO_MANY_REQUESTS or (defects_pass and error.reason == INTERNAL):
        return True
    return isinstance(error, TransportRequestError) and not error.remote_tag

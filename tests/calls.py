"""Short ways to make calls, and to see why one was refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from osqueue_service.app import App
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.ids import SystemIds
from osqueue_service.rpc.server import Server, ServerSettings
from osqueue_service.storage import ObjectStore
from osqueue_service.storage.factory import OpenedStore
from osqueue_service.storage.usage import StoreUsage
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc

Queue = queue_pb2_grpc.QueueServiceStub


class Refusal:
    """An error as a caller gets it."""

    def __init__(self) -> None:
        self.error: grpc.aio.AioRpcError | None = None

    @property
    def code(self) -> grpc.StatusCode:
        assert self.error is not None
        return self.error.code()

    @property
    def message(self) -> str:
        assert self.error is not None
        return self.error.details() or ""

    @property
    def trailing(self) -> dict[str, Any]:
        assert self.error is not None
        return dict(self.error.trailing_metadata() or ())

    @property
    def reason(self) -> str:
        (info,) = self._details(error_details_pb2.ErrorInfo)
        assert info.domain == "osqueue"
        reason: str = info.reason
        return reason

    @property
    def violations(self) -> dict[str, str]:
        return {
            each.field: each.description
            for detail in self._details(error_details_pb2.BadRequest)
            for each in detail.field_violations
        }

    def detail(self, kind: Any) -> Any:
        """The one detail of this kind."""
        (found,) = self._details(kind)
        return found

    def _details(self, kind: Any) -> Iterator[Any]:
        status = rpc_status.from_call(self.error)
        assert status is not None, f"{self.error!r} has no details"
        for packed in status.details:
            found = kind()
            if packed.Unpack(found):
                yield found


@contextmanager
def refused(reason: str = "") -> Iterator[Refusal]:
    """What happens inside must be refused, for this reason if one is given."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.aio.AioRpcError as error:
        refusal.error = error
    assert refusal.error is not None, "the call was not refused"
    if reason:
        assert refusal.reason == reason, refusal.message


async def submit(queue: Queue, payload: bytes = b"{}", **fields: Any) -> str:
    """Submit one job; its id."""
    answer = await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=payload, **fields))
    return answer.job_id


async def submit_many(queue: Queue, count: int, **fields: Any) -> list[str]:
    """Submit jobs with the payloads b"0", b"1", ...; their ids."""
    jobs = [queue_pb2.SubmitJobRequest(payload=b"%d" % number, **fields) for number in range(count)]
    answer = await queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs))
    return [result.submitted.job_id for result in answer.results]


async def claim(queue: Queue, worker_id: str = "w1", **fields: Any) -> queue_pb2.ClaimJobResponse:
    return await queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id=worker_id, **fields))


async def complete(queue: Queue, claimed: queue_pb2.ClaimJobResponse, **fields: Any) -> None:
    await queue.CompleteJob(queue_pb2.CompleteJobRequest(**holder(claimed), **fields))


async def fail(queue: Queue, claimed: queue_pb2.ClaimJobResponse, **fields: Any) -> queue_pb2.FailJobResponse:
    return await queue.FailJob(queue_pb2.FailJobRequest(**holder(claimed), **fields))


async def status(queue: Queue, job_id: str) -> str:
    answer = await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))
    return answer.job.status


async def until(condition: Callable[[], bool]) -> None:
    """Give everything else its turn until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def holder(claimed: queue_pb2.ClaimJobResponse, worker_id: str = "w1") -> dict[str, str]:
    """Who holds the lease of a claimed job."""
    return {"job_id": claimed.job_id, "worker_id": worker_id, "lease_token": claimed.lease_token}


@asynccontextmanager
async def broker_over(store: ObjectStore, /, *, stand_by: bool = False, **settings: Any) -> AsyncIterator[App]:
    """A broker over a store of the test's own, which other brokers may share."""
    clock, ids = SystemClock(), SystemIds()
    chosen = Settings(host="127.0.0.1", grpc_port=0, **settings)
    server = Server(ServerSettings(), chosen.limits, clock=clock, ids=ids)
    opened = OpenedStore(store, StoreUsage(clock))
    app = App(chosen, opened, server, clock=clock, ids=ids, on_loaded=lambda: None)
    try:
        await app.start(stand_by=stand_by)
        yield app
    finally:
        await app.stop()

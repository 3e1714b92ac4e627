"""The Work stream, against a broker in this process: slots, pushed jobs, receipts, renewals, drain, resume."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, queue_pb2_grpc

Stub = queue_pb2_grpc.QueueServiceStub


class Worker:
    """One worker's end of a stream: sends frames, keeps what arrives."""

    def __init__(self, stub: Stub, worker_id: str = "w1", slots: int = 10, **opened: object) -> None:
        self.call = stub.Work()
        self.jobs: list[job_pb2.ClaimedJob] = []
        self.receipts: list[queue_pb2.WorkReceipt] = []
        self.renewals: list[queue_pb2.LeaseState] = []
        self.notices: list[queue_pb2.LeaseState] = []
        self.opened: queue_pb2.WorkOpened | None = None
        self.largest = 0
        self._open = queue_pb2.WorkOpen(worker_id=worker_id, slots=slots, **opened)

    async def start(self) -> "Worker":
        await self.send(open=self._open)
        await self.until(lambda: self.opened is not None)
        return self

    async def send(self, **fields: object) -> None:
        await self.call.write(queue_pb2.WorkRequest(**fields))

    async def complete(self, *jobs: job_pb2.ClaimedJob, result: bytes = b'"ok"') -> None:
        done = [
            queue_pb2.CompleteJobRequest(job_id=job.job_id, lease_token=job.lease_token, result=result) for job in jobs
        ]
        await self.send(completions=done)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until it holds; a stream that ends first is a failure."""
        while not condition():
            assert await self.read(), "the stream ended"

    async def read(self) -> bool:
        """One message; False at the end of the stream."""
        message = await asyncio.wait_for(self.call.read(), 10)
        if message is grpc.aio.EOF:
            return False
        if message.HasField("opened"):
            self.opened = message.opened
        self.largest = max(self.largest, len(message.jobs))
        self.jobs.extend(message.jobs)
        self.receipts.extend(message.receipts)
        self.renewals.extend(message.renewals)
        self.notices.extend(message.notices)
        return True


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with broker_in_process() as app, grpc.aio.insecure_channel(app.address) as channel:
        yield queue_pb2_grpc.QueueServiceStub(channel)


async def submit(stub: Stub, count: int, **fields: object) -> list[str]:
    jobs = [queue_pb2.SubmitJobRequest(payload=b"%d" % n, **fields) for n in range(count)]
    answer = await stub.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs))
    return [result.submitted.job_id for result in answer.results]


async def status(stub: Stub, job_id: str) -> str:
    return (await stub.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.status


async def test_jobs_are_pushed_many_per_message_and_completed_with_a_receipt(stub: Stub) -> None:
    worker = await Worker(stub, slots=50).start()
    ids = await submit(stub, 50)
    await worker.until(lambda: len(worker.jobs) == 50)
    assert [job.job_id for job in worker.jobs] == ids
    assert worker.largest > 1
    await worker.complete(*worker.jobs)
    await worker.until(lambda: len(worker.receipts) == 50)
    assert {receipt.status for receipt in worker.receipts} == {"completed"}
    assert (await stub.GetJob(queue_pb2.GetJobRequest(job_id=ids[0]))).job.result == b'"ok"'


async def test_slots_bound_what_a_worker_holds(stub: Stub) -> None:
    await submit(stub, 10)
    worker = await Worker(stub, slots=3).start()
    await worker.until(lambda: len(worker.jobs) == 3)
    stats = await stub.GetStats(queue_pb2.GetStatsRequest())
    assert (stats.in_progress, stats.unclaimed) == (3, 7)
    await worker.complete(worker.jobs[0])
    await worker.until(lambda: len(worker.jobs) == 4)
    await worker.send(slots=10)
    await worker.until(lambda: len(worker.jobs) == 10)


async def test_idle_workers_share_a_burst() -> None:
    async with broker_in_process() as app, grpc.aio.insecure_channel(app.address) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        first, second = await Worker(stub, "w1", 100).start(), await Worker(stub, "w2", 100).start()
        while app.broker.engine.waiting_claims < 2:
            await asyncio.sleep(0)
        await submit(stub, 20)
        await first.until(lambda: len(first.jobs) == 10)
        await second.until(lambda: len(second.jobs) == 10)


async def test_failures_and_releases_are_receipted(stub: Stub) -> None:
    ids = await submit(stub, 2, max_attempts=1)
    worker = await Worker(stub, slots=2).start()
    await worker.until(lambda: len(worker.jobs) == 2)
    failed, released = worker.jobs
    await worker.send(
        slots=0,
        failures=[
            queue_pb2.FailJobRequest(job_id=failed.job_id, lease_token=failed.lease_token, error={"type": "ValueError"})
        ],
        releases=[queue_pb2.ReleaseJobRequest(job_id=released.job_id, lease_token=released.lease_token)],
    )
    await worker.until(lambda: len(worker.receipts) == 2)
    assert {receipt.job_id: receipt.status for receipt in worker.receipts} == {ids[0]: "dead", ids[1]: "unclaimed"}


async def test_one_frame_renews_every_lease_and_says_which_are_lost(stub: Stub) -> None:
    await submit(stub, 2)
    worker = await Worker(stub, slots=2).start()
    await worker.until(lambda: len(worker.jobs) == 2)
    await worker.send(renew_all=True)
    await worker.until(lambda: len(worker.renewals) == 2)
    assert all(renewal.live and renewal.lease_expires_at for renewal in worker.renewals)
    stale = queue_pb2.HeartbeatRequest(job_id=worker.jobs[0].job_id, lease_token="stale")
    await worker.send(heartbeats=[stale])
    await worker.until(lambda: len(worker.renewals) == 3)
    assert not worker.renewals[2].live


async def test_a_worker_that_reconnects_is_told_which_of_its_leases_live(stub: Stub) -> None:
    await submit(stub, 1)
    first = await Worker(stub, slots=1).start()
    await first.until(lambda: len(first.jobs) == 1)
    job = first.jobs[0]
    first.call.cancel()
    held = [
        queue_pb2.HeldLease(job_id=job.job_id, lease_token=job.lease_token),
        queue_pb2.HeldLease(job_id=job.job_id, lease_token="stale"),
    ]
    second = await Worker(stub, slots=1, held=held).start()
    assert second.opened is not None
    assert [state.live for state in second.opened.held] == [True, False]


async def test_a_held_lease_takes_a_slot_and_can_be_completed(stub: Stub) -> None:
    await submit(stub, 2)
    first = await Worker(stub, slots=1).start()
    await first.until(lambda: len(first.jobs) == 1)
    job = first.jobs[0]
    first.call.cancel()
    held = [queue_pb2.HeldLease(job_id=job.job_id, lease_token=job.lease_token)]
    second = await Worker(stub, slots=1, held=held).start()
    assert not second.jobs
    await second.complete(job)
    await second.until(lambda: bool(second.receipts) and len(second.jobs) == 1)
    assert second.receipts[0].status == "completed"
    assert await status(stub, job.job_id) == "completed"


async def test_cancellation_is_noticed_on_the_stream(stub: Stub) -> None:
    (job_id,) = await submit(stub, 1)
    worker = await Worker(stub, slots=1).start()
    await worker.until(lambda: len(worker.jobs) == 1)
    answer = await stub.CancelJob(queue_pb2.CancelJobRequest(job_id=job_id))
    assert answer.cancel_requested
    await worker.until(lambda: bool(worker.notices))
    assert worker.notices[0].job_id == job_id and worker.notices[0].live and worker.notices[0].cancel_requested


async def test_an_expired_lease_is_noticed_on_the_stream(stub: Stub) -> None:
    (job_id,) = await submit(stub, 1)
    worker = await Worker(stub, slots=1, lease_ms=100).start()
    await worker.until(lambda: bool(worker.notices))
    assert worker.notices[0].job_id == job_id and not worker.notices[0].live
    # The slot is free again, so the job comes back as its second attempt.
    await worker.until(lambda: len(worker.jobs) == 2)
    assert worker.jobs[1].attempt == 2


async def test_a_drained_stream_ends_when_the_last_job_is_settled(stub: Stub) -> None:
    await submit(stub, 2)
    worker = await Worker(stub, slots=1).start()
    await worker.until(lambda: len(worker.jobs) == 1)
    await worker.send(drain=True)
    await worker.complete(worker.jobs[0])
    while await worker.read():
        pass
    assert [receipt.status for receipt in worker.receipts] == ["completed"]
    assert len(worker.jobs) == 1
    assert await worker.call.code() is grpc.StatusCode.OK


async def test_a_broken_stream_keeps_its_leases(stub: Stub) -> None:
    (job_id,) = await submit(stub, 1)
    worker = await Worker(stub, slots=1).start()
    await worker.until(lambda: len(worker.jobs) == 1)
    worker.call.cancel()
    renewed = await stub.Heartbeat(
        queue_pb2.HeartbeatRequest(job_id=job_id, worker_id="w1", lease_token=worker.jobs[0].lease_token)
    )
    assert renewed.lease_expires_at
    assert await status(stub, job_id) == "in_progress"


async def test_a_job_granted_to_a_worker_that_hung_up_is_given_to_the_next(stub: Stub) -> None:
    worker = await Worker(stub, slots=1).start()
    worker.call.cancel()
    await submit(stub, 1)
    other = await Worker(stub, "w2", 1).start()
    # Whether the claim of the one that is gone was still waiting or not: nobody waits for a lease to expire.
    await other.until(lambda: len(other.jobs) == 1)


@pytest.mark.parametrize(
    ("first", "field"),
    [
        ({"slots": 3}, "open"),
        ({"open": {"slots": 3}}, "open.worker_id"),
        ({"open": {"worker_id": "w", "slots": -1}}, "open.slots"),
        ({"open": {"worker_id": "w", "slots": 10_001}}, "open.slots"),
        ({"open": {"worker_id": "w", "types": ["t" * 1_025]}}, "open.types[0]"),
        ({"open": {"worker_id": "w", "lease_ms": 5}}, "open.lease_ms"),
    ],
)
async def test_a_bad_introduction_is_refused_by_field(stub: Stub, first: dict[str, object], field: str) -> None:
    call = stub.Work()
    await call.write(queue_pb2.WorkRequest(**first))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (refused.value.details() or "")


async def test_a_second_introduction_is_refused(stub: Stub) -> None:
    worker = await Worker(stub).start()
    await worker.send(open=queue_pb2.WorkOpen(worker_id="w2"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await worker.read()
    assert "open" in (refused.value.details() or "")


async def test_the_broker_says_where_to_go_when_it_stops() -> None:
    async with broker_in_process() as app, grpc.aio.insecure_channel(app.address) as channel:
        worker = await Worker(queue_pb2_grpc.QueueServiceStub(channel), slots=1).start()
        stopping = asyncio.ensure_future(app.broker.step_down())
        message = await asyncio.wait_for(worker.call.read(), 10)
        assert message.HasField("drain")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await worker.call.read()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await stopping


# --- streams that take the place of earlier ones ----------------------------------------------------------------------


async def test_what_never_arrived_on_an_earlier_stream_goes_back(stub: Stub) -> None:
    earlier = await Worker(stub, slots=3, stream_key="s").start()
    await submit(stub, 3)
    await earlier.until(lambda: len(earlier.jobs) == 3)
    arrived = earlier.jobs[0]
    held = queue_pb2.HeldLease(job_id=arrived.job_id, lease_token=arrived.lease_token)
    worker = await Worker(stub, slots=3, stream_key="s", held=[held]).start()
    assert [lease.live for lease in worker.opened.held] == [True]
    await worker.until(lambda: len(worker.jobs) == 2)
    assert {job.job_id for job in worker.jobs} == {job.job_id for job in earlier.jobs[1:]}
    assert {job.attempt for job in worker.jobs} == {2}
    info = (await stub.GetJob(queue_pb2.GetJobRequest(job_id=worker.jobs[0].job_id))).job
    assert info.attempts == 1  # the one that runs
    assert not await earlier.read()  # it is over


async def test_a_stream_with_another_key_takes_nobodys_place(stub: Stub) -> None:
    one = await Worker(stub, slots=1, stream_key="s").start()
    await submit(stub, 1)
    await one.until(lambda: len(one.jobs) == 1)
    for key in ("t", ""):
        await Worker(stub, slots=1, stream_key=key).start()
    await Worker(stub, worker_id="other", slots=1, stream_key="s").start()
    await one.complete(*one.jobs)
    await one.until(lambda: len(one.receipts) == 1)
    assert one.receipts[0].status == "completed"


@pytest.mark.parametrize(("chars", "fits"), [(64, True), (65, False)])
async def test_the_length_of_a_streams_key(stub: Stub, chars: int, fits: bool) -> None:
    worker = Worker(stub, stream_key="k" * chars)
    if fits:
        await worker.start()
        return
    with pytest.raises(grpc.aio.AioRpcError, match="stream_key"):
        await worker.start()

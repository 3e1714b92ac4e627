"""Calls that a broker refuses leave nothing behind that only a collection would free."""

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2, queue_pb2_grpc
from tests.calls import claim, submit
from tests.leftovers import left_by


async def in_vain(call: Awaitable[Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call


UNARY = {
    "a wrong field": ("SubmitJob", queue_pb2.SubmitJobRequest(payload=b"x", priority=10_000)),
    "a payload too large": ("SubmitJob", queue_pb2.SubmitJobRequest(payload=b"x" * 1_048_577)),
    "an atomic batch with a wrong field": (
        "SubmitJobs",
        queue_pb2.SubmitJobsRequest(jobs=[queue_pb2.SubmitJobRequest(payload=b"")]),
    ),
    "no such job": ("GetJob", queue_pb2.GetJobRequest(job_id="nope")),
    "no such job to wait for": ("WaitJob", queue_pb2.WaitJobRequest(job_id="nope", wait_ms=1)),
    "no such job to explain": ("ExplainJob", queue_pb2.ExplainJobRequest(job_id="nope")),
    "no such job to cancel": ("CancelJob", queue_pb2.CancelJobRequest(job_id="nope")),
    "a bad page token": ("ListJobs", queue_pb2.ListJobsRequest(page_token="nope")),
    "a bad page token of a change": (
        "CancelJobs",
        queue_pb2.CancelJobsRequest(filter={"types": ["a"]}, page_token="nope"),
    ),
    "a lost lease: heartbeat": ("Heartbeat", queue_pb2.HeartbeatRequest(job_id="nope", worker_id="w")),
    "a lost lease: completion": ("CompleteJob", queue_pb2.CompleteJobRequest(job_id="nope", worker_id="w")),
    "a lost lease: failure": ("FailJob", queue_pb2.FailJobRequest(job_id="nope", worker_id="w")),
    "a lost lease: release": ("ReleaseJob", queue_pb2.ReleaseJobRequest(job_id="nope", worker_id="w")),
}


@pytest.mark.parametrize("name", UNARY)
async def test_of_a_refused_call(queue, name):
    method, request = UNARY[name]
    assert await left_by(lambda: in_vain(getattr(queue, method)(request))) == {}


async def test_of_refused_items_of_a_batch(queue):
    lost = {"job_id": "nope", "worker_id": "w", "lease_token": "t"}

    async def calls() -> None:
        wrong = queue_pb2.SubmitJobsRequest(jobs=[{}, {"payload": b"x", "priority": 10_000}], atomic=False)
        await queue.SubmitJobs(wrong)
        await queue.CompleteJobs(queue_pb2.CompleteJobsRequest(completions=[lost, {}]))
        await queue.HeartbeatJobs(queue_pb2.HeartbeatJobsRequest(heartbeats=[lost, {}]))
        await queue.CancelJobs(queue_pb2.CancelJobsRequest(job_ids=["nope"]))
        await queue.RetryJobs(queue_pb2.RetryJobsRequest(job_ids=["nope"]))

    assert await left_by(calls) == {}


async def test_of_bytes_that_are_no_message(channel):
    call = channel.unary_unary("/osqueue.v1.QueueService/SubmitJob")
    assert await left_by(lambda: in_vain(call(b"\xff\xff\xff"))) == {}


async def test_of_a_full_queue():
    async with (
        broker_in_process(settings={"OSQUEUE_LIMIT_JOBS": "1"}) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        await submit(queue)
        full = queue_pb2.SubmitJobRequest(payload=b"x" * 1_000)
        assert await left_by(lambda: in_vain(queue.SubmitJob(full))) == {}


async def test_of_callers_without_the_token():
    async with (
        broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        request = queue_pb2.SubmitJobRequest(payload=b"x")
        assert await left_by(lambda: in_vain(queue.SubmitJob(request))) == {}


async def test_of_refused_streams(queue, admin):
    async def calls() -> None:
        work = queue.Work()
        with suppress(grpc.aio.AioRpcError):
            await work.write(queue_pb2.WorkRequest(slots=1))
            await work.read()
        watch = queue.WatchJobs(queue_pb2.WatchJobsRequest(stats_interval_ms=1))
        with suppress(grpc.aio.AioRpcError):
            await watch.read()

    assert await left_by(calls) == {}


async def test_of_a_work_stream_whose_items_are_refused(queue):
    async def calls() -> None:
        work = queue.Work()
        await work.write(queue_pb2.WorkRequest(open={"worker_id": "w", "slots": 1}))
        await work.read()
        await work.write(queue_pb2.WorkRequest(completions=[{"job_id": "nope"}], heartbeats=[{"job_id": "nope"}]))
        await work.read()
        await work.write(queue_pb2.WorkRequest(completions=[{"job_id": ""}]))
        with suppress(grpc.aio.AioRpcError):
            while await work.read():
                pass

    assert await left_by(calls) == {}


async def test_of_long_polls_that_came_to_nothing(queue):
    async def calls() -> None:
        assert not (await claim(queue, wait_ms=1)).job_id
        waiting = queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=60_000), timeout=0.3)
        await waiting

    assert await left_by(calls) == {}


async def test_of_calls_that_a_stopping_broker_refuses():
    async with broker_in_process() as app, grpc.aio.insecure_channel(app.address) as channel:
        queue, admin = queue_pb2_grpc.QueueServiceStub(channel), None
        await submit(queue)
        engine = app.broker.engine
        engine.lose()

        async def calls() -> None:
            await in_vain(queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"x")))
            await in_vain(queue.GetStats(queue_pb2.GetStatsRequest(linearizable=True)))

        assert admin is None
        assert await left_by(calls) == {}


async def test_of_refused_management(admin):
    async def calls() -> None:
        await in_vain(admin.PauseTypes(admin_pb2.PauseTypesRequest()))
        await in_vain(admin.GetHistory(admin_pb2.GetHistoryRequest(since=-1)))
        await in_vain(admin.Purge(admin_pb2.PurgeRequest(page_token="x")))

    assert await left_by(calls) == {}

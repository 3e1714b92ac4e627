"""Tokens and the protected mode, against live brokers."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, queue_pb2, queue_pb2_grpc
from tests.calls import claim, refused, submit

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture
async def guarded():
    async with (
        broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield channel


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


class TestWithAToken:
    async def test_the_token_opens(self, guarded):
        queue = queue_pb2_grpc.QueueServiceStub(guarded)
        await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"), metadata=bearing("s3cret"))

    @pytest.mark.parametrize("metadata", [(), bearing("wrong"), bearing(""), (("authorization", "s3cret"),)])
    async def test_nothing_else_does(self, guarded, metadata):
        queue = queue_pb2_grpc.QueueServiceStub(guarded)
        with refused("UNAUTHENTICATED") as refusal:
            await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"), metadata=metadata)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        stats = await queue.GetStats(queue_pb2.GetStatsRequest(), metadata=bearing("s3cret"))
        assert stats.total == 0

    async def test_streams_are_guarded_too(self, guarded):
        admin, queue = admin_pb2_grpc.AdminServiceStub(guarded), queue_pb2_grpc.QueueServiceStub(guarded)
        with refused("UNAUTHENTICATED"):
            await admin.GetState(admin_pb2.GetStateRequest()).read()
        with refused("UNAUTHENTICATED"):
            await queue.WatchJobs(queue_pb2.WatchJobsRequest()).read()
        with refused("UNAUTHENTICATED"):
            await queue.Work().read()
        with refused("UNAUTHENTICATED"):
            await guarded.stream_stream(REFLECTION)().read()

    async def test_the_token_is_asked_before_the_request_is_looked_at(self, guarded):
        with refused("UNAUTHENTICATED"):
            await guarded.unary_unary("/osqueue.v1.QueueService/SubmitJob")(b"\xff\xff")

    async def test_the_token_is_asked_before_a_byte_of_the_request_is_read(self, guarded):
        """A unary call whose request never comes: it is answered all the same."""
        call = guarded.stream_unary("/osqueue.v1.QueueService/SubmitJob")()
        with refused("UNAUTHENTICATED"):
            await asyncio.wait_for(call, 10)

    async def test_health_is_for_everyone(self, guarded):
        health = health_pb2_grpc.HealthStub(guarded)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


class TestWithoutAToken:
    async def test_callers_on_this_machine_are_served(self, queue):
        await queue.GetStats(queue_pb2.GetStatsRequest())

    async def test_a_forwarded_call_counts_as_remote(self, queue):
        with refused("PERMISSION_DENIED") as refusal:
            await queue.GetStats(queue_pb2.GetStatsRequest(), metadata=(("x-forwarded-for", "10.0.0.7"),))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert "OSQUEUE_TOKEN" in refusal.message and "OSQUEUE_ALLOW_REMOTE" in refusal.message

    async def test_unless_remote_callers_are_allowed(self):
        async with (
            broker_in_process(settings={"OSQUEUE_ALLOW_REMOTE": "1"}) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            await queue.GetStats(queue_pb2.GetStatsRequest(), metadata=(("x-forwarded-for", "10.0.0.7"),))


@asynccontextmanager
async def reachable(**settings: str):
    """A broker without a token that other machines could reach, and a channel to it."""
    async with broker_in_process(settings={"BROKER_HOST": "0.0.0.0", **settings}) as app:
        port = app.address.rpartition(":")[2]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel


class TestWithoutATokenWhereOthersCanReachIt:
    async def test_calls_are_served_as_elsewhere(self):
        async with reachable() as channel:
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            job_id = await submit(queue, b"1")
            events = queue.WatchJobs(queue_pb2.WatchJobsRequest())
            await events.read()
            claimed = await claim(queue)
            assert claimed.job_id == job_id
            with refused("INVALID_REQUEST"):
                await queue.GetJob(queue_pb2.GetJobRequest())

    async def test_a_stranger_is_refused_before_a_byte_of_the_request_is_read(self):
        async with reachable() as channel:
            call = channel.stream_unary("/osqueue.v1.QueueService/SubmitJob")(
                metadata=(("x-forwarded-for", "10.0.0.7"),)
            )
            with refused("PERMISSION_DENIED"):
                await asyncio.wait_for(call, 10)

    @pytest.mark.parametrize("method", ["QueueService/SubmitJob", "AdminService/GetState"])
    async def test_a_request_has_to_arrive_in_time(self, method):
        async with reachable(OSQUEUE_LIMIT_MESSAGE_MS="100", OSQUEUE_ALLOW_REMOTE="1") as channel:
            call = channel.stream_stream(f"/osqueue.v1.{method}")()
            with refused("INVALID_REQUEST") as refusal:
                await asyncio.wait_for(call.read(), 10)
            assert "(message_ms)" in refusal.message

    async def test_a_call_without_a_message_is_refused(self):
        async with reachable() as channel:
            call = channel.stream_unary("/osqueue.v1.QueueService/SubmitJob")()
            await call.done_writing()
            with refused("INVALID_REQUEST"):
                await asyncio.wait_for(call, 10)

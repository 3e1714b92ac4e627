"""The server around the services: port, health, reflection, standby, stopping, TLS."""

import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from osqueue_service.app import App, build
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.errors import BrokerLeadershipError, ConfigError, StoreUnavailable
from osqueue_service.ids import SystemIds
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.rpc.server import Server, ServerSettings
from osqueue_service.storage.factory import OpenedStore
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.usage import StoreUsage
from osqueue_service.testing.in_process import BrokerThread, broker_in_process
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc
from tests.calls import broker_over, refused, submit, until

Response = health_pb2.HealthCheckResponse
LEADING = "osqueue.v1.QueueService"


async def health(address: str, service: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


class TestThePort:
    async def test_a_port_in_use_is_refused_by_name(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"BROKER_GRPC_PORT.*127.0.0.1:{port}"):
                await build(Settings(host="127.0.0.1", grpc_port=port))

    async def test_so_is_one_of_another_broker(self, app):
        with pytest.raises(ConfigError, match="another process has the port"):
            await build(Settings(host="127.0.0.1", grpc_port=app.server.port))

    async def test_a_port_is_free_again_after_a_failed_start(self, tmp_path):
        (tmp_path / "file").write_text("not a directory")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with pytest.raises(ConfigError):
            await build(
                Settings(
                    host="127.0.0.1",
                    grpc_port=port,
                    storage_backend="file",
                    store={"OSQUEUE_DATA_DIR": str(tmp_path / "file")},
                )
            )
        async with broker_in_process(settings={"BROKER_GRPC_PORT": str(port)}) as app:
            assert app.server.port == port


class TestTheDataDirectory:
    async def test_the_queue_is_there_again_after_a_restart(self, tmp_path):
        for expected in (1, 2):
            async with (
                broker_in_process(data_dir=tmp_path / "queue") as app,
                grpc.aio.insecure_channel(app.address) as channel,
            ):
                queue = queue_pb2_grpc.QueueServiceStub(channel)
                await submit(queue)
                stats = await queue.GetStats(queue_pb2.GetStatsRequest())
                assert (stats.total, stats.position.epoch) == (expected, expected)

    async def test_a_second_broker_is_refused_by_name(self, tmp_path):
        async with broker_in_process(data_dir=tmp_path / "queue") as app:
            with pytest.raises(BrokerLeadershipError) as raised:
                async with broker_in_process(data_dir=tmp_path / "queue"):
                    pass
            assert str(tmp_path / "queue") in str(raised.value)
            assert app.address in str(raised.value)

    def test_a_broker_in_a_thread_raises_what_keeps_it_from_starting(self, tmp_path):
        with BrokerThread(data_dir=tmp_path / "queue"), pytest.raises(BrokerLeadershipError):
            BrokerThread(data_dir=tmp_path / "queue").__enter__()


async def until_watched_again(health_of: health_pb2_grpc.HealthStub) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await health_of.Watch(health_pb2.HealthCheckRequest()).read()
            except grpc.aio.AioRpcError:
                continue


class TestHealth:
    async def test_a_leader_is_healthy_in_both_ways(self, app):
        assert await health(app.address, "") == Response.SERVING
        assert await health(app.address, LEADING) == Response.SERVING

    async def test_all_services_are_listed(self, app):
        async with grpc.aio.insecure_channel(app.address) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
        assert {name: each.status for name, each in answer.statuses.items()} == {
            "": Response.SERVING,
            LEADING: Response.SERVING,
            "osqueue.v1.StandbyService": Response.SERVING,
        }

    async def test_watches_are_capped(self):
        async with (
            broker_in_process(settings={"OSQUEUE_LIMIT_HEALTH_WATCHES": "1"}) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            health_of = health_pb2_grpc.HealthStub(channel)
            first = health_of.Watch(health_pb2.HealthCheckRequest())
            await first.read()
            with refused() as refusal:
                await health_of.Watch(health_pb2.HealthCheckRequest()).read()
            assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "health_watches" in refusal.message
            assert await health(app.address, "") == Response.SERVING
            first.cancel()
            await until_watched_again(health_of)

    async def test_an_unknown_service_is_not_found(self, app):
        with refused() as refusal:
            await health(app.address, "nonsense")
        assert refusal.code is grpc.StatusCode.NOT_FOUND

    async def test_a_standby_lives_and_does_not_lead_until_it_does(self):
        bucket = MemoryBucket()
        shared = {"storage_backend": "s3", "store": {"S3_BUCKET": "b"}}
        async with (
            broker_over(MemoryStore(bucket), **shared) as leader,
            broker_over(MemoryStore(bucket), stand_by=True, **shared) as standby,
            grpc.aio.insecure_channel(standby.address) as channel,
        ):
            assert await health(standby.address, "") == Response.SERVING
            watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=LEADING))
            assert (await watching.read()).status == Response.NOT_SERVING
            await until(lambda: standby.broker.leader_address == leader.address)
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            with refused("NOT_LEADER") as refusal:
                await submit(queue)
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.trailing["osqueue-leader"] == leader.address
            await leader.stop()
            assert (await watching.read()).status == Response.SERVING
            await submit(queue)


class TestWhatItIsDoing:
    async def test_a_standby_names_the_leader(self):
        bucket = MemoryBucket()
        async with (
            broker_over(MemoryStore(bucket)) as leader,
            broker_over(MemoryStore(bucket), stand_by=True) as standby,
        ):
            await until(lambda: standby.broker.leader_address == leader.address)
            assert f"standing by: {leader.address} leads" in standby.doing

    async def test_a_store_that_does_not_answer_is_named_with_what_failed_so_far(self):
        clock = SystemClock()
        usage = StoreUsage(clock)
        store = InstrumentedStore(NobodyThere(), clock, usage)
        app = App(
            Settings(host="127.0.0.1", grpc_port=0),
            OpenedStore(store, usage),
            Server(ServerSettings(), DEFAULT_LIMITS, clock=clock, ids=SystemIds()),
            clock=clock,
            ids=SystemIds(),
            on_loaded=lambda: None,
        )
        starting = asyncio.ensure_future(app.start())
        await until(lambda: usage.requests() > 0)
        assert "asking nobody://there whether it can hold a queue" in app.doing
        await until(lambda: "requests to it have failed: check endpoint and network" in app.doing)
        starting.cancel()
        await app.stop()


class NobodyThere(MemoryStore):
    """A store behind an endpoint that nobody listens at."""

    @property
    def description(self) -> str:
        return "nobody://there"

    async def put_if_absent(self, key: str, body: bytes) -> str:
        raise StoreUnavailable("connection refused")


class TestReflection:
    @pytest.mark.parametrize("version", ["v1", "v1alpha"])
    async def test_the_services_are_listed_and_described(self, channel, version):
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {each.name for each in (await call.read()).list_services_response.service}
        assert {"osqueue.v1.QueueService", "osqueue.v1.AdminService", "grpc.health.v1.Health"} <= names
        for symbol in ("osqueue.v1.QueueService", "osqueue.v1.JobInfo", "grpc.health.v1.Health"):
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()

    async def described(self, channel: grpc.aio.Channel, symbol: str) -> dict[str, FileDescriptorProto]:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        answer = await call.read()
        await call.done_writing()
        files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        return {file.name: file for file in files}

    @pytest.mark.parametrize("symbol", ["osqueue.v1.QueueService.SubmitJob", "osqueue.v1.SubmitJobRequest.payload"])
    async def test_a_method_or_field_is_described_by_its_own_name(self, channel, symbol):
        files = await self.described(channel, symbol)
        assert {"osqueue/v1/queue.proto", "osqueue/v1/job.proto", "osqueue/v1/options.proto"} <= files.keys()

    @pytest.mark.parametrize("symbol", ["osqueue.v1.QueueService.Nonsense", "nonsense", ""])
    async def test_what_does_not_exist_is_not_found(self, channel, symbol):
        assert await self.described(channel, symbol) == {}

    async def test_comments_come_along(self, channel):
        queue = (await self.described(channel, "osqueue.v1.QueueService"))["osqueue/v1/queue.proto"]
        (of_submit,) = [each for each in queue.source_code_info.location if list(each.path) == [6, 0, 2, 0]]
        assert of_submit.leading_comments.startswith(" Puts one job into the queue; answers once it is durable.\n")


class TestStopping:
    async def test_every_waiting_call_has_its_answer(self, app, queue):
        job_id = await submit(queue, delay_ms=60_000)
        calls = [
            queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=60_000)),
            queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=60_000)),
        ]
        engine = app.broker.engine
        await until(lambda: engine.waiting_claims == 1 and engine.views.waiting_reads == 1)
        await app.stop()
        for call in calls:
            with refused("NOT_LEADER"):
                await call

    async def test_open_streams_do_not_hold_it_up(self, app, channel, queue):
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == Response.SERVING
        jobs = queue.WatchJobs(queue_pb2.WatchJobsRequest())
        await jobs.read()
        reflecting = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
        await reflecting.write(reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString())
        await reflecting.read()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await app.stop()
        assert loop.time() - began < 1.5, "stop waited for a stream that nobody told to leave"
        with refused() as refusal:
            while await jobs.read() is not grpc.aio.EOF:
                pass
        assert refusal.code is grpc.StatusCode.UNAVAILABLE

    async def test_stopping_twice_is_stopping_once(self, app):
        await app.stop()
        await app.stop()


class TestTls:
    HERE = Path(__file__).parent / "tls"

    async def test_the_port_speaks_tls(self):
        settings = {
            "OSQUEUE_TLS_CERT_FILE": str(self.HERE / "localhost.crt"),
            "OSQUEUE_TLS_KEY_FILE": str(self.HERE / "localhost.key"),
        }
        trusted = grpc.ssl_channel_credentials((self.HERE / "localhost.crt").read_bytes())
        async with broker_in_process(settings=settings) as app:
            async with grpc.aio.secure_channel(f"localhost:{app.server.port}", trusted) as channel:
                await submit(queue_pb2_grpc.QueueServiceStub(channel))
            async with grpc.aio.insecure_channel(app.address) as channel:
                with refused() as refusal:
                    await submit(queue_pb2_grpc.QueueServiceStub(channel))
                assert refusal.code is grpc.StatusCode.UNAVAILABLE

    @pytest.mark.parametrize("content", [None, "no pem"])
    async def test_a_file_that_is_no_certificate_is_named(self, tmp_path, content):
        path = tmp_path / "cert.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=f"OSQUEUE_TLS_CERT_FILE: {path}"):
            await build(Settings(host="127.0.0.1", grpc_port=0, tls_cert_file=str(path), tls_key_file=str(path)))

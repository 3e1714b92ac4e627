"""What no well-behaved caller sends, and what the broker says when it fails itself."""

import logging

import grpc
import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.rpc.services import ADMIN, QUEUE, STANDBY
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc
from tests import wire
from tests.calls import refused, submit

SERVICES = (QUEUE, ADMIN, STANDBY)
METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
    if not method.client_streaming and not method.server_streaming
]

# A group within a group, ten thousand times over.
DEEP = b"\x0b" * 10_000


async def raw(channel: grpc.aio.Channel, method: str, body: bytes) -> bytes:
    return await channel.unary_unary(method)(body, timeout=10)


async def test_every_method_of_all_services_is_served(app):
    served = app.server.methods
    assert {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods} <= served


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x7f\x01", DEEP], ids=["noise", "cut", "deep"])
async def test_bytes_that_are_no_message_are_a_bad_request(channel, method, body):
    with refused("INVALID_REQUEST") as refusal:
        await raw(channel, method, body)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert method.rpartition("/")[2] + "Request" in refusal.message


async def test_strings_must_be_utf8(channel):
    with refused("INVALID_REQUEST") as refusal:
        await raw(channel, "/osqueue.v1.QueueService/ClaimJob", wire.encode([(1, b"w\xff\xfe")]))
    assert "UTF-8" in refusal.message


@pytest.mark.parametrize("method", METHODS)
async def test_a_message_over_the_limit_is_refused_by_every_method(channel, method):
    with refused("PAYLOAD_TOO_LARGE") as refusal:
        await raw(channel, method, wire.encode([(999, b"x" * DEFAULT_LIMITS.message_bytes)]))
    assert "message_bytes" in refusal.message


NEWER = [
    ("SubmitJob", queue_pb2.SubmitJobRequest(payload=b"1"), b"", "57", "SubmitJobRequest"),
    ("GetStats", queue_pb2.GetStatsRequest(), b"", "57", "GetStatsRequest"),
    ("ListJobs", queue_pb2.ListJobsRequest(), wire.encode([(1, wire.encode([(57, 1)]))]), "filter.57", "JobFilter"),
    ("SubmitJobs", queue_pb2.SubmitJobsRequest(), b"", "57", "SubmitJobsRequest"),
]


@pytest.mark.parametrize(("method", "request_", "rest", "field", "message"), NEWER, ids=[each[0] for each in NEWER])
async def test_a_field_of_a_later_release_is_refused_by_its_number(channel, method, request_, rest, field, message):
    body = request_.SerializeToString() + (rest or wire.encode([(57, "newer")]))
    with refused("INVALID_REQUEST") as refusal:
        await raw(channel, f"/osqueue.v1.QueueService/{method}", body)
    said = f"this broker is too old for field 57 of {message}: upgrade it, or leave out what the field asks for"
    assert refusal.violations == {field: said}


async def test_a_newer_field_of_one_job_of_a_batch_is_named_with_its_place(channel):
    job = wire.encode([(1, b"x")])
    body = wire.encode([(1, job), (1, job + wire.encode([(57, 1)]))])
    with refused("INVALID_REQUEST") as refusal:
        await raw(channel, "/osqueue.v1.QueueService/SubmitJobs", body)
    assert refusal.violations.keys() == {"jobs[1].57"}


async def test_a_newer_field_of_a_frame_ends_the_stream(channel):
    call = channel.stream_stream("/osqueue.v1.QueueService/Work")()
    await call.write(wire.encode([(1, wire.encode([(1, "w")])), (57, 1)]))
    with refused("INVALID_REQUEST") as refusal:
        await call.read()
    assert "too old for field 57 of WorkRequest" in refusal.message


async def test_an_unusual_encoding_of_known_fields_is_understood(channel):
    """A field sent twice, zeros sent out loud: longer than it need be, and nothing unknown."""
    body = wire.encode([(1, b"first"), (1, b"second"), (4, 0), (7, 0), (3, "")])
    answer = queue_pb2.SubmitJobResponse.FromString(await raw(channel, "/osqueue.v1.QueueService/SubmitJob", body))
    job = await queue_pb2_grpc.QueueServiceStub(channel).GetJob(queue_pb2.GetJobRequest(job_id=answer.job_id))
    assert job.job.payload == b"second"


# Two bytes an element on the wire, a hundred in memory: what is counted before it is built.
SWOLLEN = [
    ("/osqueue.v1.QueueService/SubmitJobs", "jobs", b"\x0a\x00"),
    ("/osqueue.v1.QueueService/CompleteJobs", "completions", b"\x0a\x00"),
    ("/osqueue.v1.QueueService/HeartbeatJobs", "heartbeats", b"\x0a\x00"),
]


@pytest.mark.parametrize(("method", "field", "element"), SWOLLEN, ids=[field for _, field, _ in SWOLLEN])
@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["plain", "gzip"])
async def test_elements_are_counted_before_they_are_built(channel, method, field, element, compression):
    with refused("INVALID_REQUEST") as refusal:
        await channel.unary_unary(method)(element * 2_000_000, timeout=30, compression=compression)
    assert refusal.violations == {field: "has more than 10,000 elements, which no call may (batch_items, work_slots)"}


async def test_a_frame_of_a_work_stream_is_counted_too(channel):
    """`held` is field 5 of `open`."""
    call = channel.stream_stream("/osqueue.v1.QueueService/Work")()
    held = b"\x2a\x00" * 100_000
    await call.write(wire.encode([(1, held)]))
    with refused("INVALID_REQUEST") as refusal:
        await call.read()
    assert "open.held" in refusal.violations


async def test_a_compressed_message_cannot_unfold_past_the_limit(channel):
    """A hundred megabytes that travel as a hundred kilobytes: the library stops where it would stop plain ones."""
    with refused() as refusal:
        await channel.unary_unary(METHODS[0])(b"\x00" * (100 << 20), timeout=30, compression=grpc.Compression.Gzip)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    with refused("PAYLOAD_TOO_LARGE"):
        just_over = wire.encode([(999, b"x" * DEFAULT_LIMITS.message_bytes)])
        await channel.unary_unary(METHODS[0])(just_over, timeout=30, compression=grpc.Compression.Gzip)


async def test_a_message_far_over_the_limit_does_not_even_reach_us(channel):
    with refused() as refusal:
        await raw(channel, METHODS[0], b"x" * (2 * DEFAULT_LIMITS.message_bytes))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_unknown_method_is_unimplemented(channel):
    with refused() as refusal:
        await raw(channel, "/osqueue.v1.QueueService/StealJob", b"")
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_defect_is_logged_under_the_id_that_the_caller_sees(app, queue, monkeypatch, caplog):
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("the secret cause")

    monkeypatch.setattr(app.broker.engine, "execute", broken)
    with caplog.at_level(logging.ERROR), refused("INTERNAL") as refusal:
        await submit(queue)
    assert refusal.code is grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.message
    (record,) = [each for each in caplog.records if "SubmitJob" in each.getMessage()]
    defect = record.getMessage().split()[1]
    assert defect in refusal.message
    assert "the secret cause" in (record.exc_text or "")
    assert app.server.calls.defects == 1


async def test_a_full_inbox_is_said_with_the_time_to_try_again(app, queue, monkeypatch):
    monkeypatch.setattr(app.broker.engine._inbox, "_bytes", app.broker.limits.inbox_bytes)
    with refused("TOO_MANY_REQUESTS") as refusal:
        await submit(queue)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_are_counted_by_method_and_outcome(app, queue):
    await submit(queue)
    with refused():
        await submit(queue, b"")
    calls = app.server.calls
    assert (calls.count("SubmitJob", "OK"), calls.count("SubmitJob", "INVALID_REQUEST")) == (1, 1)
    text = app.metrics.render()
    assert 'osqueue_rpc_calls_total{method="SubmitJob",outcome="OK"} 1' in text
    assert 'osqueue_jobs{status="unclaimed"} 1' in text
    assert 'osqueue_broker_role{role="leader"} 1' in text
    assert 'osqueue_store_requests_total{operation="put_if_absent",outcome="ok"}' in text


async def test_the_position_of_a_commit_rises(queue):
    first = await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"))
    second = await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"2"))
    assert (first.commit.epoch, second.commit.epoch) == (1, 1)
    assert second.commit.sequence > first.commit.sequence


async def test_fields_are_counted_too(channel):
    """One field over and over: the last one would count, and each costs its reader a step."""
    repeated = wire.encode([(2, 1)]) * 100_000
    with refused("INVALID_REQUEST") as refusal:
        await channel.unary_unary("/osqueue.v1.QueueService/SubmitJobs")(repeated, timeout=30)
    assert "more fields than any call may have" in refusal.message

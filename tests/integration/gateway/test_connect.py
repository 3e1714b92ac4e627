"""The Connect protocol, as its specification has it."""

import asyncio
import json
import struct
from base64 import b64decode
from typing import Any

import pytest
from google.rpc import error_details_pb2

from osqueue.errors import OsqueueError
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.integration.gateway.gateways import HOST, Asked, Caller, running
from tests.integration.gateway.scripted import ScriptedLink

QUEUE = "/osqueue.v1.QueueService/"
PROTO = "application/proto"


async def unary(caller: Caller, method: str, message: Any, **headers: str) -> Asked:
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return await caller.ask("POST", QUEUE + method, body, **{"Content_Type": PROTO, **headers})


async def test_unary_calls_in_protobuf(caller: Caller) -> None:
    asked = await unary(caller, "SubmitJob", queue_pb2.SubmitJobRequest(payload=b"\x00\xff", type="t"))
    assert (asked.status, asked.headers["Content-Type"]) == (200, PROTO)
    job = queue_pb2.SubmitJobResponse.FromString(asked.body)
    asked = await unary(caller, "ClaimJob", queue_pb2.ClaimJobRequest(worker_id="w"), Connect_Protocol_Version="1")
    claim = queue_pb2.ClaimJobResponse.FromString(asked.body)
    assert (claim.job_id, claim.payload, claim.type) == (job.job_id, b"\x00\xff", "t")


async def test_unary_calls_in_protobufs_own_json(caller: Caller) -> None:
    asked = await caller.ask("POST", QUEUE + "SubmitJob", '{"payload": "AP8=", "type": "t"}')
    assert (asked.status, asked.headers["Content-Type"]) == (200, "application/json")
    await caller.ask("POST", QUEUE + "ClaimJob", '{"worker_id": "w"}')
    answer = (await caller.ask("POST", QUEUE + "GetJob", json.dumps({"jobId": asked.json()["jobId"]}))).json()
    assert answer["job"]["payload"] == "AP8="
    assert isinstance(answer["job"]["createdAt"], str), "int64 are strings in protobuf's JSON"


async def test_unknown_fields_are_refused_as_everywhere(caller: Caller) -> None:
    """Against Connect's custom: a field that is passed over is a job that is not what its caller asked for."""
    asked = await caller.ask("POST", QUEUE + "SubmitJob", '{"payload": "AP8=", "unheard": [1]}')
    assert (asked.status, asked.json()["code"]) == (400, "invalid_argument")
    assert "unheard" in asked.json()["message"]
    newer = queue_pb2.SubmitJobRequest(payload=b"1").SerializeToString() + b"\xc8\x03\x01"  # field 57
    asked = await caller.ask("POST", QUEUE + "SubmitJob", newer, Content_Type=PROTO)
    assert (asked.status, asked.json()["code"]) == (400, "invalid_argument")
    assert "field 57 of SubmitJobRequest" in asked.json()["message"]


async def test_admin_calls_too(caller: Caller) -> None:
    asked = await caller.ask("POST", "/osqueue.v1.AdminService/ListWorkers", "{}")
    assert asked.status in (200, 501)


async def test_an_error_has_code_message_and_details(caller: Caller) -> None:
    asked = await unary(caller, "SubmitJob", queue_pb2.SubmitJobRequest(payload=b"1", max_attempts=-1))
    assert (asked.status, asked.headers["Content-Type"]) == (400, "application/json")
    error = asked.json()
    assert error["code"] == "invalid_argument"
    details = {detail["type"]: b64decode(detail["value"] + "==") for detail in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "osqueue")
    bad = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert [violation.field for violation in bad.field_violations] == ["max_attempts"]


@pytest.mark.parametrize(
    ("reason", "code", "status"),
    [
        ("JOB_NOT_FOUND", "not_found", 404),
        ("LEASE_LOST", "failed_precondition", 400),
        ("IDEMPOTENCY_CONFLICT", "already_exists", 409),
        ("QUEUE_FULL", "resource_exhausted", 429),
        ("STORAGE_UNAVAILABLE", "unavailable", 503),
        ("PAYLOAD_TOO_LARGE", "invalid_argument", 400),
        ("UNIMPLEMENTED", "unimplemented", 501),
        ("INTERNAL", "internal", 500),
    ],
)
async def test_codes_and_statuses_are_connects(reason: str, code: str, status: int) -> None:
    link = ScriptedLink(GetStats=OsqueueError("no", reason=reason))
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        asked = await caller.ask("POST", QUEUE + "GetStats", "{}")
        assert (asked.status, asked.json()["code"]) == (status, code)


async def test_retry_advice_travels_as_a_detail() -> None:
    link = ScriptedLink(GetStats=OsqueueError("full", reason="QUEUE_FULL", retry_after_ms=2_500))
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        details = (await caller.ask("POST", QUEUE + "GetStats", "{}")).json()["details"]
        (value,) = (detail["value"] for detail in details if detail["type"] == "google.rpc.RetryInfo")
        retry = error_details_pb2.RetryInfo.FromString(b64decode(value + "=="))
        assert retry.retry_delay.ToMilliseconds() == 2_500


BAD = {
    "no protobuf": (b"\xff\xff\xff", PROTO),
    "a field that is no UTF-8": (b"\x1a\x01\xff", PROTO),
    "no JSON": (b"{", "application/json"),
    "an array": (b"[]", "application/json"),
    "nothing": (b"", "application/json"),
    "10,000 levels": (b"[" * 10_000, "application/json"),
    "10,000 levels in an unknown field": (b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "application/json"),
    "a field that is not known": (b'{"payload": "e30=", "newer": 1}', "application/json"),
    "bad base64": (b'{"payload": "%"}', "application/json"),
    "a huge number": (b'{"maxAttempts": ' + b"9" * 5_000 + b"}", "application/json"),
    "no UTF-8": (b'{"type": "\xff"}', "application/json"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_messages_are_invalid_arguments(caller: Caller, name: str) -> None:
    body, media = BAD[name]
    asked = await caller.ask("POST", QUEUE + "SubmitJob", body, Content_Type=media)
    assert (asked.status, asked.json()["code"]) == (400, "invalid_argument")
    assert (await caller.get("/v1/stats"))["counts"]["submittedTotal"] == 0


async def test_other_media_types_are_415(caller: Caller) -> None:
    for media in ("text/plain", "application/grpc", "application/connect+proto"):
        asked = await caller.ask("POST", QUEUE + "SubmitJob", b"", Content_Type=media)
        assert (asked.status, asked.headers["Accept-Post"]) == (415, "application/json, application/proto")


async def test_other_methods_are_405(caller: Caller) -> None:
    asked = await caller.ask("GET", QUEUE + "GetStats?connect=v1&encoding=json&message=%7B%7D")
    assert (asked.status, asked.headers["Allow"]) == (405, "POST")


async def test_compression_is_unimplemented(caller: Caller) -> None:
    asked = await unary(caller, "SubmitJob", b"\x1f\x8b", Content_Encoding="gzip")
    assert (asked.status, asked.json()["code"]) == (501, "unimplemented")


async def test_another_version_of_the_protocol_is_refused(caller: Caller) -> None:
    asked = await unary(caller, "GetStats", queue_pb2.GetStatsRequest(), Connect_Protocol_Version="2")
    assert (asked.status, asked.json()["code"]) == (400, "invalid_argument")


async def test_a_callers_time_limit_holds() -> None:
    async def never(request: Any) -> None:
        await asyncio.Event().wait()

    link = ScriptedLink(GetStats=never, SubmitJobs=never)
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(drain_ms=50)), link) as caller:
        asked = await caller.ask("POST", QUEUE + "GetStats", "{}", Connect_Timeout_Ms="50")
        assert (asked.status, asked.json()["code"]) == (504, "deadline_exceeded")
        asked = await caller.ask("POST", QUEUE + "SubmitJob", '{"payload": "MQ=="}', Connect_Timeout_Ms="50")
        assert "may or may not" in asked.json()["message"]
        asked = await caller.ask("POST", QUEUE + "GetStats", "{}", Connect_Timeout_Ms="soon")
        assert asked.json()["code"] == "invalid_argument"


async def test_a_waiting_claim_answers_empty_before_its_time_limit(caller: Caller) -> None:
    request = queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=60_000)
    asked = await unary(caller, "ClaimJob", request, Connect_Timeout_Ms="600")
    assert (asked.status, asked.body) == (200, b"")


def enveloped(body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(body)) + body


def unwrapped(stream: bytes) -> list[tuple[int, bytes]]:
    found = []
    while stream:
        flags, size = struct.unpack_from(">BI", stream)
        found.append((flags, stream[5 : 5 + size]))
        stream = stream[5 + size :]
    return found


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_server_streams_are_enveloped(codec: str) -> None:
    link = ScriptedLink()
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        for sequence in (1, 2):
            position = job_pb2.ReadPosition(sequence=sequence)
            link.frames.put_nowait(queue_pb2.WatchJobsResponse(position=position))
        link.frames.put_nowait(None)
        request = (
            queue_pb2.WatchJobsRequest(types=["t"]).SerializeToString() if codec == "proto" else b'{"types":["t"]}'
        )
        media = f"application/connect+{codec}"
        asked = await caller.ask("POST", QUEUE + "WatchJobs", enveloped(request), Content_Type=media)
        assert (asked.status, asked.headers["Content-Type"]) == (200, media)
        *messages, end = unwrapped(asked.body)
        assert end == (0b10, b"{}")
        if codec == "proto":
            found = [queue_pb2.WatchJobsResponse.FromString(body).position.sequence for _, body in messages]
        else:
            found = [int(json.loads(body)["position"]["sequence"]) for _, body in messages]
        assert found == [1, 2]
        assert list(link.streamed[0].types) == ["t"]


async def test_a_stream_ends_with_its_error() -> None:
    link = ScriptedLink()
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        link.frames.put_nowait(OsqueueError("slow", reason="TOO_MANY_REQUESTS"))
        media = "application/connect+proto"
        asked = await caller.ask("POST", QUEUE + "WatchJobs", enveloped(b""), Content_Type=media)
        ((flags, body),) = unwrapped(asked.body)
        assert (asked.status, flags, json.loads(body)["error"]["code"]) == (200, 0b10, "resource_exhausted")


@pytest.mark.parametrize("body", [b"", b"\x00", enveloped(b"") + b"x", enveloped(b"", 1), enveloped(b"\xff")])
async def test_bad_envelopes_end_the_stream_with_an_error(caller: Caller, body: bytes) -> None:
    asked = await caller.ask("POST", QUEUE + "WatchJobs", body, Content_Type="application/connect+proto")
    ((flags, end),) = unwrapped(asked.body)
    assert (flags, json.loads(end)["error"]["code"] in ("invalid_argument", "unimplemented")) == (0b10, True)


async def test_the_work_stream_is_left_to_grpc(caller: Caller) -> None:
    asked = await caller.ask("POST", QUEUE + "Work", b"", Content_Type="application/connect+proto")
    assert (asked.status, asked.json()["code"]) == (501, "unimplemented")

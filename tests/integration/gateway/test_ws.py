"""WebSocket JSON-RPC."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from osqueue.errors import OsqueueError
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.integration.gateway.gateways import HOST, Caller, running
from tests.integration.gateway.scripted import ScriptedLink, until

Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture
async def socket(caller: Caller) -> AsyncIterator[Socket]:
    async with caller.socket() as found:
        yield found


async def ask(socket: Socket, method: str, params: Any = None, identifier: Any = 1) -> Any:
    call = {"id": identifier, "method": method} | ({} if params is None else {"params": params})
    await socket.send_str(json.dumps(call))
    return json.loads((await socket.receive(5)).data)


async def result(socket: Socket, method: str, params: Any = None) -> Any:
    answer = await ask(socket, method, params)
    assert answer["ok"], answer
    return answer["result"]


async def test_the_original_methods(socket: Socket) -> None:
    job = await result(socket, "submitJob", {"payload": {"n": 1}, "type": "email"})
    assert job.keys() == {"jobId"}
    listed = await result(socket, "listJobs")
    assert [found["id"] for found in listed["jobs"]] == [job["jobId"]]
    claim = await result(socket, "claimJob", {"workerId": "w"})
    assert (claim["jobId"], claim["payload"], claim["type"]) == (job["jobId"], {"n": 1}, "email")
    assert await result(socket, "claimJob", {"workerId": "w"}) == {}
    held = {"jobId": job["jobId"], "workerId": "w"}
    assert await result(socket, "heartbeat", held) == {}
    assert await result(socket, "completeJob", held) == {}
    assert (await result(socket, "getStats", {}))["completedTotal"] == 1


async def test_a_payload_is_kept_to_the_letter(socket: Socket) -> None:
    payload = '{"b":1 , "a": 123456789012345678901234567890}'
    await socket.send_str(f'{{"id":1,"method":"submitJob","params":{{"payload":{payload}}}}}')
    await socket.receive(5)
    await socket.send_str('{"id":2,"method":"claimJob","params":{"workerId":"w"}}')
    assert f'"payload":{payload},' in (await socket.receive(5)).data


@pytest.mark.parametrize("identifier", [1, "one", 1.5, None, True, [1, {"a": 2}], 12345678901234567890123])
async def test_the_id_is_echoed_with_its_type(socket: Socket, identifier: Any) -> None:
    answer = await ask(socket, "getStats", identifier=identifier)
    assert answer["id"] == identifier and type(answer["id"]) is type(identifier)


async def test_an_absent_id_is_null(socket: Socket) -> None:
    await socket.send_str('{"method":"getStats"}')
    answer = json.loads((await socket.receive(5)).data)
    assert (answer["id"], answer["ok"]) == (None, True)


@pytest.mark.parametrize("frame", ["", "{", "nonsense", "[]", '"x"', '{"id": 1, "id": 2}', '{"id": NaN}', "[" * 10_000])
async def test_what_is_no_call_is_invalid_json(socket: Socket, frame: str) -> None:
    await socket.send_str(frame)
    answer = json.loads((await socket.receive(5)).data)
    assert answer["id"] is None and answer["ok"] is False
    assert (answer["error"]["_tag"], answer["error"]["message"]) == ("BrokerProtocolError", "Invalid JSON")
    assert (await result(socket, "getStats"))["total"] == 0


async def test_an_unknown_method_is_named(socket: Socket) -> None:
    answer = await ask(socket, "explode")
    assert answer["error"]["_tag"] == "BrokerProtocolError"
    assert answer["error"]["message"] == "Unsupported WS method: explode"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({"id": 7, "method": 5}, "method"),
        ({"id": 7, "params": {}}, "method"),
        ({"id": 7, "method": "getStats", "extra": 1}, "extra"),
        ({"id": 7, "method": "submitJob", "params": {"payload": 1, "retries": 1}}, "retries"),
        ({"id": 7, "method": "unwatch", "params": {"subscription": "watch-9"}}, "subscription"),
        ({"id": 7, "method": "unwatch", "params": {}}, "subscription"),
    ],
)
async def test_wrong_keys_are_named_under_the_id(socket: Socket, call: Any, field: str) -> None:
    await socket.send_str(json.dumps(call))
    answer = json.loads((await socket.receive(5)).data)
    assert (answer["id"], answer["error"]["_tag"]) == (7, "BrokerProtocolError")
    assert [violation["field"] for violation in answer["error"]["violations"]] == [field]


async def test_params_may_be_a_list_for_nobody(socket: Socket) -> None:
    answer = await ask(socket, "submitJob", [1])
    assert (answer["id"], answer["error"]["reason"]) == (1, "INVALID_REQUEST")


async def test_errors_of_the_broker_have_their_tags(socket: Socket) -> None:
    answer = await ask(socket, "completeJob", {"jobId": "none", "workerId": "w"})
    assert (answer["error"]["_tag"], answer["error"]["reason"]) == ("JobNotFoundError", "JOB_NOT_FOUND")


async def test_calls_do_not_wait_for_each_other(socket: Socket) -> None:
    await socket.send_str('{"id":"slow","method":"claimJob","params":{"workerId":"w","waitMs":20000}}')
    assert (await ask(socket, "getStats", identifier="fast"))["id"] == "fast"
    await socket.send_str('{"id":"submit","method":"submitJob","params":{"payload":1}}')
    answers = [json.loads((await socket.receive(5)).data) for _ in range(2)]
    assert {answer["id"] for answer in answers} == {"slow", "submit"}


async def test_closing_the_socket_cancels_its_waiting_claims(caller: Caller) -> None:
    async with caller.socket() as socket:
        await socket.send_str('{"id":1,"method":"claimJob","params":{"workerId":"w","waitMs":20000}}')
        await until(lambda: caller.gateway.calls.waiting)
    await until(lambda: not caller.gateway.calls.waiting)
    await caller.post("/v1/jobs", '{"payload": 1}')
    assert [job["status"] for job in (await caller.get("/v1/jobs"))["jobs"]] == ["unclaimed"]


async def test_a_torn_connection_cancels_too(caller: Caller) -> None:
    async with caller.socket() as socket:
        await socket.send_str('{"id":1,"method":"claimJob","params":{"workerId":"w","waitMs":20000}}')
        await until(lambda: caller.gateway.calls.waiting)
        socket.get_extra_info("socket").shutdown(2)
        await until(lambda: not caller.gateway.calls.waiting)


async def test_at_most_64_calls_run_and_the_rest_waits() -> None:
    gate = asyncio.Event()

    async def answer(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    link = ScriptedLink(GetStats=answer)
    async with running(GatewayConfig(host=HOST, port=0), link) as caller, caller.socket() as socket:
        for number in range(200):
            await socket.send_str(f'{{"id":{number},"method":"getStats"}}')
        await socket.send_str('{"id":"last","method":"submitJob","params":{"payload":1}}')
        await until(lambda: len(link.asked) == 64)
        assert caller.gateway.calls.under_way == 64
        gate.set()
        answers = [json.loads((await socket.receive(5)).data) for _ in range(201)]
        assert {answer["id"] for answer in answers} == {*range(200), "last"}
        assert len(link.asked) == 201


async def test_nothing_more_is_read_while_too_much_waits() -> None:
    gate = asyncio.Event()

    async def answer(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    limits = Limits(socket_in_flight=2, socket_waiting=4)
    link = ScriptedLink(GetStats=answer)
    async with running(GatewayConfig(host=HOST, port=0, limits=limits), link) as caller, caller.socket() as socket:
        for number in range(100):
            await socket.send_str(f'{{"id":{number},"method":"getStats"}}')
        await until(lambda: len(link.asked) == 2)
        gate.set()
        answers = [json.loads((await socket.receive(5)).data)["id"] for _ in range(100)]
        assert sorted(answers) == list(range(100))


async def test_a_socket_that_breaks_while_frames_wait_leaves_nothing_behind() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    async def never(request: Any) -> None:
        await asyncio.Event().wait()

    limits = Limits(socket_in_flight=2, socket_waiting=4)
    link = ScriptedLink(GetStats=never)
    async with running(GatewayConfig(host=HOST, port=0, limits=limits), link) as caller, caller.socket() as socket:
        for number in range(10):
            await socket.send_str(f'{{"id":{number},"method":"getStats"}}')
        await until(lambda: len(link.asked) == 2)
        socket.get_extra_info("socket").shutdown(2)
        await until(lambda: caller.gateway.sockets.open == 0 and caller.gateway.calls.under_way == 0)
    assert complaints == []


async def test_compression_is_not_offered(caller: Caller) -> None:
    async with caller.socket(compress=15) as socket:
        assert not socket.compress
        assert (await result(socket, "getStats"))["total"] == 0


BAD_FRAMES = {
    "a reserved bit": b"\xc1\x82\x00\x00\x00\x00{}",
    "an unknown opcode": b"\x83\x82\x00\x00\x00\x00{}",
    "a long ping": b"\x89\xfe\x00\x7e" + bytes(4) + b"x" * 126,
    "a fragmented ping": b"\x09\x80\x00\x00\x00\x00",
    "a continuation of nothing": b"\x80\x82\x00\x00\x00\x00{}",
    "a length beyond the limit": b"\x81\xff" + (Limits().body_bytes + 1).to_bytes(8, "big") + bytes(4) + b"{",
    "a length beyond reason": b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_closes_the_socket(caller: Caller, name: str) -> None:
    reader, writer = await caller.connection()
    writer.write(
        b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    writer.write(BAD_FRAMES[name])
    async with asyncio.timeout(5):
        closing = await reader.readexactly(4)
        assert closing[0] == 0x88, "a close frame"
        assert int.from_bytes(closing[2:4], "big") in (1002, 1009)
        writer.close()
    assert (await caller.get("/v1/stats"))["total"] == 0


async def test_a_plain_request_is_told_to_upgrade(caller: Caller) -> None:
    asked = await caller.ask("GET", "/v1/ws")
    assert (asked.status, asked.headers["Upgrade"], asked.json()["_tag"]) == (426, "websocket", "BrokerProtocolError")


async def test_sockets_beyond_the_limit_are_refused() -> None:
    config = GatewayConfig(host=HOST, port=0, limits=Limits(sockets=1))
    async with running(config, ScriptedLink()) as caller, caller.socket():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await caller.socket().__aenter__()
        assert refused.value.status == 429


@pytest.fixture
async def watched() -> AsyncIterator[tuple[ScriptedLink, Caller]]:
    link = ScriptedLink()
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(socket_watches=2)), link) as caller:
        yield link, caller


def frame(*kinds: Any) -> queue_pb2.WatchJobsResponse:
    events = [queue_pb2.JobEvent(kind=kind, job_id="j") for kind in kinds]
    return queue_pb2.WatchJobsResponse(events=events, position=job_pb2.ReadPosition(epoch=1, sequence=2))


async def test_a_watch_sends_events_until_unwatched(watched: tuple[ScriptedLink, Caller]) -> None:
    link, caller = watched
    async with caller.socket() as socket:
        link.frames.put_nowait(frame(queue_pb2.JOB_EVENT_KIND_SUBMITTED, queue_pb2.JOB_EVENT_KIND_CLAIMED))
        started = await result(socket, "watchJobs", {"types": ["email"]})
        name = started["subscription"]
        events = [json.loads((await socket.receive(5)).data) for _ in range(2)]
        assert [event["data"]["kind"] for event in events] == ["SUBMITTED", "CLAIMED"]
        assert all((event["event"], event["subscription"]) == ("job", name) for event in events)
        link.frames.put_nowait(queue_pb2.WatchJobsResponse(stats=queue_pb2.GetStatsResponse(total=3)))
        stats = json.loads((await socket.receive(5)).data)
        assert (stats["event"], stats["data"]["total"]) == ("stats", 3)
        assert await result(socket, "unwatch", {"subscription": name}) == {}
        await until(lambda: link.open_streams == 0)
        assert list(link.streamed[0].types) == ["email"]


async def test_a_refused_watch_is_an_error_of_its_call(watched: tuple[ScriptedLink, Caller]) -> None:
    link, caller = watched
    async with caller.socket() as socket:
        link.frames.put_nowait(OsqueueError("no", reason="UNIMPLEMENTED"))
        answer = await ask(socket, "watchJobs", {})
        assert (answer["ok"], answer["error"]["reason"]) == (False, "UNIMPLEMENTED")


async def test_a_watch_that_breaks_says_so(watched: tuple[ScriptedLink, Caller]) -> None:
    link, caller = watched
    async with caller.socket() as socket:
        name = (await result(socket, "watchJobs"))["subscription"]
        link.frames.put_nowait(OsqueueError("too slow", reason="TOO_MANY_REQUESTS"))
        broken = json.loads((await socket.receive(5)).data)
        assert (broken["event"], broken["subscription"]) == ("error", name)
        assert broken["data"]["_tag"] == "QueueFullError"


async def test_watches_are_limited_and_end_with_the_socket(watched: tuple[ScriptedLink, Caller]) -> None:
    link, caller = watched
    async with caller.socket() as socket:
        for _ in range(2):
            await result(socket, "watchJobs")
        answer = await ask(socket, "watchJobs")
        assert answer["error"]["reason"] == "TOO_MANY_REQUESTS"
    await until(lambda: link.open_streams == 0)


async def test_a_stopping_gateway_tells_its_watchers(watched: tuple[ScriptedLink, Caller]) -> None:
    link, caller = watched
    async with caller.socket() as socket:
        name = (await result(socket, "watchJobs"))["subscription"]
        stopping = asyncio.ensure_future(caller.gateway.stop())
        assert json.loads((await socket.receive(5)).data) == {"event": "end", "subscription": name, "data": {}}
        assert (await socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
        await stopping
    assert link.open_streams == 0


async def test_draining_finishes_calls_and_says_goodbye() -> None:
    gate = asyncio.Event()

    async def answer(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    link = ScriptedLink(GetStats=answer)
    async with running(GatewayConfig(host=HOST, port=0), link) as caller, caller.socket() as socket:
        await socket.send_str('{"id":1,"method":"getStats"}')
        await until(lambda: link.asked)
        stopping = asyncio.ensure_future(caller.gateway.stop())
        await until(lambda: caller.gateway.calls.draining)
        gate.set()
        assert json.loads((await socket.receive(5)).data)["ok"] is True
        assert (await socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
        await stopping

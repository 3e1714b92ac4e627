"""Floods: bounded memory, a clear refusal, and everybody else is served."""

import asyncio
import copy
import gc
import json
import socket
from typing import Any

import pytest
from google.protobuf.message import Message

from osqueue.api.json_readers import VIOLATIONS_MAX
from osqueue.api.json_text import PARTS_MAX
from osqueue.errors import JobNotFoundError, QueueFullError
from osqueue_gateway.bodies import APART_BYTES, BESIDE
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.connect import JSON_VALUES_MAX
from osqueue_gateway.limits import Limits
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.integration.gateway.gateways import HOST, Caller, running
from tests.integration.gateway.scripted import ScriptedLink, until

HALF_MIB = 512 * 1024
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BIG = queue_pb2.ListJobsResponse(jobs=[job_pb2.JobInfo(id="j", payload=b'"' + b"x" * HALF_MIB + b'"')] * 6)


async def test_calls_beyond_the_limit_are_429() -> None:
    gate = asyncio.Event()

    async def answer(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    link = ScriptedLink(GetStats=answer)
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(requests=5)), link) as caller:
        asking = [asyncio.ensure_future(caller.ask("GET", "/v1/stats")) for _ in range(5)]
        await until(lambda: caller.gateway.calls.under_way == 5)
        refused = await caller.ask("GET", "/v1/stats")
        assert (refused.status, refused.json()["reason"]) == (429, "TOO_MANY_REQUESTS")
        gate.set()
        assert {answered.status for answered in await asyncio.gather(*asking)} == {200}


async def test_half_sent_bodies_share_a_budget() -> None:
    limits = Limits(body_bytes_total=2 * HALF_MIB, body_ms=5_000)
    async with running(GatewayConfig(host=HOST, port=0, limits=limits), ScriptedLink()) as caller:
        senders = [await caller.connection() for _ in range(8)]
        for _, writer in senders:
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (HALF_MIB + 100) + b"x" * HALF_MIB)
        refused = 0
        for finished in asyncio.as_completed([reader.readline() for reader, _ in senders], timeout=10):
            refused += (await finished).split()[1] == b"429"
            if refused == 6:
                break
        assert caller.gateway.budget.used <= limits.body_bytes_total
        assert (await caller.get("/v1/stats"))["total"] == 0
        for _, writer in senders:
            writer.close()
        await until(lambda: caller.gateway.budget.used == 0)


async def test_large_answers_share_it_too() -> None:
    limits = Limits(body_bytes_total=4 * 1024 * 1024)
    link = ScriptedLink(ListJobs=BIG)
    async with running(GatewayConfig(host=HOST, port=0, limits=limits), link) as caller:
        slow = await deaf_connection(caller)
        slow.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: caller.gateway.budget.used)
        refused = await caller.ask("GET", "/v1/jobs")
        assert (refused.status, refused.json()["reason"]) == (429, "TOO_MANY_REQUESTS")
        slow.close()
        await until(lambda: caller.gateway.budget.used == 0)
        assert (await caller.ask("GET", "/v1/jobs")).status == 200


async def deaf_connection(caller: Caller) -> socket.socket:
    """A connection that nobody reads from, with little room in its buffers."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf.setblocking(False)
    await asyncio.get_running_loop().sock_connect(deaf, (HOST, caller.gateway.port))
    return deaf


async def test_who_does_not_read_is_dropped() -> None:
    link = ScriptedLink(ListJobs=BIG)
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(slow_reader_ms=200)), link) as caller:
        deaf = await deaf_connection(caller)
        deaf.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: caller.gateway.metrics.counted("slow_readers_dropped") == 1)
        await until(lambda: caller.gateway.budget.used == 0)
        deaf.close()


async def test_a_socket_that_does_not_read_is_dropped() -> None:
    link = ScriptedLink(ListJobs=BIG)
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(slow_reader_ms=200)), link) as caller:
        deaf = await deaf_connection(caller)
        handshake = (
            b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        call = b'{"id":1,"method":"listJobs"}'
        deaf.sendall(handshake + (bytes((0x81, 0x80 | len(call))) + bytes(4) + call) * 20)
        await until(lambda: caller.gateway.metrics.counted("slow_readers_dropped") == 1)
        await until(lambda: caller.gateway.sockets.open == 0)
        assert caller.gateway.budget.used == 0
        deaf.close()


async def test_a_thousand_idle_sockets_hold_up_nobody() -> None:
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink()) as caller:
        sockets = [await caller.socket().__aenter__() for _ in range(1_000)]
        assert caller.gateway.sockets.open == 1_000
        await sockets[500].send_str('{"id":1,"method":"getStats"}')
        assert json.loads((await sockets[500].receive(5)).data)["ok"]
        assert (await caller.get("/v1/stats"))["total"] == 0


async def test_an_error_does_not_grow_with_what_it_refuses() -> None:
    """Every list in it is cut, and so is every word of the caller's that it repeats."""
    floods = {
        "many unknown keys": b"{" + b",".join(b'"k%d":1' % number for number in range(9_000)) + b"}",
        "too many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(500_000)) + b"}",
        "one long key": b'{"' + b"k" * 5_000_000 + b'":1}',
        "one key twice": b'{"' + b"k" * 2_000_000 + b'":1,"' + b"k" * 2_000_000 + b'":2}',
        "many wrong values": b'{"metadata":{' + b",".join(b'"k%d":1' % number for number in range(9_000)) + b"}}",
    }
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink()) as caller:
        for name, body in floods.items():
            refused = await caller.ask("POST", "/v1/jobs", body)
            assert refused.status == 400, name
            assert len(refused.body) < 32_000, name
            assert len(refused.json().get("violations", [])) <= VIOLATIONS_MAX, name


async def test_parts_beyond_the_limit_are_counted_before_they_are_read() -> None:
    empty = json.dumps({"jobs": [{}] * (PARTS_MAX + 1)})
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink()) as caller:
        refused = await caller.ask("POST", "/v1/batch/submit", empty)
        assert refused.status == 400
        assert "jobs: has 10,001 elements; at most 10,000" in refused.json()["message"]
        labels = {f"{number}": "" for number in range(PARTS_MAX + 1)}
        refused = await caller.ask("POST", "/v1/jobs", json.dumps({"payload": 1, "metadata": labels}))
        assert "metadata: has 10,001 keys; at most 10,000" in refused.json()["message"]


async def test_as_many_parts_as_the_limit_are_read() -> None:
    labels = {f"{number}": "" for number in range(PARTS_MAX)}
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink()) as caller:
        asked = await caller.ask("POST", "/v1/jobs", json.dumps({"payload": 1, "metadata": labels}))
        assert b"at most" not in asked.body
        wrong = await caller.ask("POST", "/v1/batch/submit", json.dumps({"jobs": [{"a": 1}] * PARTS_MAX}))
        assert len(wrong.json()["violations"]) == VIOLATIONS_MAX


async def test_so_are_values_of_connects_json() -> None:
    url = "/osqueue.v1.QueueService/SubmitJobs"
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink()) as caller:
        most = JSON_VALUES_MAX // 2  # each has a brace, and all but one a comma before it; one brace is around them
        assert (await caller.ask("POST", url, '{"jobs":[' + ",".join(["{}"] * most) + "]}")).status == 200
        refused = await caller.ask("POST", url, '{"jobs":[' + ",".join(["{}"] * (most + 1)) + "]}")
        assert refused.status == 400 and "at most 100,000 are read" in refused.json()["message"]


@pytest.mark.parametrize("size", [APART_BYTES - 1_000, APART_BYTES + 1_000])
async def test_a_large_body_is_taken_apart_beside_the_loop(
    size: int, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []

    submit = BESIDE.submit

    def counted(*work: Any) -> Any:
        threads.append(True)
        return submit(*work)

    monkeypatch.setattr(BESIDE, "submit", counted)
    assert (await caller.ask("POST", "/v1/jobs", json.dumps({"payload": "x" * size}))).status == 200
    assert len(threads) == (size > APART_BYTES)
    async with caller.socket() as socket:
        await socket.send_str(json.dumps({"id": 1, "method": "submitJob", "params": {"payload": "x" * size}}))
        assert (await socket.receive_json())["ok"]
    assert len(threads) == 2 * (size > APART_BYTES)


async def test_a_refused_call_leaves_nothing_for_the_collector() -> None:
    """An error refers to the frames that it came through. One that a frame keeps would keep the request until the
    collector comes, which is rare in a process that has little for it to do."""
    full = QueueFullError("full", reason="QUEUE_FULL")
    gone = JobNotFoundError("gone", reason="JOB_NOT_FOUND")

    async def refuse(request: Any) -> Any:
        raise copy.copy(full)

    async def refuse_wait(request: Any) -> Any:
        raise copy.copy(gone)

    link = ScriptedLink(SubmitJobs=refuse, CompleteJobs=refuse, ListJobs=refuse, ClaimJob=refuse, WaitJob=refuse_wait)
    payload = "x" * 100_000
    calls = [
        ("POST", "/v1/jobs", json.dumps({"payload": payload})),
        ("POST", "/v1/batch/submit", json.dumps({"jobs": [{"payload": payload}]})),
        ("POST", "/v1/jobs/j/complete", json.dumps({"workerId": "w", "result": payload})),
        ("POST", "/v1/jobs/claim", json.dumps({"workerId": "w", "waitMs": 1_000})),
        ("GET", "/v1/jobs/j/wait?waitMs=1000", None),
        ("GET", "/v1/jobs", None),
        ("POST", "/v1/jobs", json.dumps({"payload": payload, "tipe": payload})),
        ("POST", "/v1/jobs", "{" + payload),
        ("POST", "/osqueue.v1.QueueService/SubmitJob", json.dumps({"payload": "eHh4" * 25_000})),
    ]
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        for method, path, body in calls:
            await caller.ask(method, path, body)
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for method, path, body in calls * 5:
                assert (await caller.ask(method, path, body)).status >= 400
            await asyncio.sleep(0)
            gc.collect()
            kept = [each for each in gc.garbage if isinstance(each, BaseException | Message)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert kept == []


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_connections_that_ask_for_nothing_keep_nobody_out(sent: bytes) -> None:
    """Half a head, no head at all, or silence after an answer."""
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(connections=4)), ScriptedLink()) as caller:
        idle = [await caller.connection() for _ in range(4)]
        for reader, writer in idle:
            writer.write(sent)
            if sent.endswith(b"\r\n\r\n"):
                await reader.readuntil(b'{"status":"ok"}')
        later = []
        for _ in range(6):
            reader, writer = await caller.connection()
            later.append(writer)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in await reader.readline()
        assert await idle[0][0].read() == b"", "the one that asked for nothing for longest has given way"
        assert caller.gateway._server.open <= 4 + caller.gateway._server.leaving
        assert caller.gateway.metrics.counted("connections_given_up") >= 6


async def test_busy_connections_do_not_give_way() -> None:
    gate = asyncio.Event()

    async def answer(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    limits = Limits(connections=2)
    async with running(GatewayConfig(host=HOST, port=0, limits=limits), ScriptedLink(GetStats=answer)) as caller:
        asking = [asyncio.ensure_future(caller.ask("GET", "/v1/stats")) for _ in range(2)]
        await until(lambda: caller.gateway.calls.under_way == 2)
        reader, _ = await caller.connection()
        assert b"503" in await reader.readline()
        gate.set()
        assert {answered.status for answered in await asyncio.gather(*asking)} == {200}

"""Floods: bounded memory, a clear refusal, and everybody else is served."""

import asyncio
import json
import socket
from typing import Any

from osqueue_gateway.config import GatewayConfig
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

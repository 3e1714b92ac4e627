"""WebSockets that send more than there is room for, or never the whole of it: bounded in bytes and in time."""

import asyncio
import gc
import json
from typing import Any

import aiohttp.web

from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.integration.gateway.gateways import HOST, Caller, running
from tests.integration.gateway.scripted import ScriptedLink, until

HALF_MIB = 512 * 1024
HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
MASK = bytes(4)


def gateway(link: ScriptedLink | None = None, **limits: int) -> Any:
    return running(GatewayConfig(host=HOST, port=0, limits=Limits(**limits)), link or ScriptedLink())


async def opened(caller: Caller) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await caller.connection()
    writer.write(HANDSHAKE)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


def frame(text: bytes, *, announced: int = 0) -> bytes:
    """A message, or the beginning of one that is announced to be longer."""
    return b"\x81\xff" + (announced or len(text)).to_bytes(8, "big") + MASK + text


async def answer(reader: asyncio.StreamReader) -> Any:
    head = await reader.readexactly(2)
    size = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2 if head[1] == 126 else 8), "big")
    return json.loads(await reader.readexactly(size))


async def test_half_sent_messages_share_the_budget_of_bodies() -> None:
    async with gateway(body_bytes_total=2 * HALF_MIB) as caller:
        sockets = [await opened(caller) for _ in range(8)]
        for _, writer in sockets:
            writer.write(frame(b"x" * (HALF_MIB - 1_000), announced=HALF_MIB))
        await until(lambda: caller.gateway.metrics.counted("messages_given_up") == 6)
        await until(lambda: caller.gateway.sockets.open == 2)
        assert caller.gateway.budget.used <= 2 * HALF_MIB
        assert (await caller.get("/v1/stats"))["total"] == 0
        for _, writer in sockets:
            writer.close()
        await until(lambda: caller.gateway.budget.used == 0)


async def test_a_message_that_stays_half_sent_ends_its_socket() -> None:
    async with gateway(body_ms=100) as caller:
        reader, writer = await opened(caller)
        writer.write(frame(b"{", announced=10))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        assert caller.gateway.metrics.counted("messages_given_up") == 1
        writer.close()


async def test_dripping_does_not_prolong_a_message() -> None:
    async with gateway(body_ms=200) as caller:
        reader, writer = await opened(caller)
        writer.write(frame(b"", announced=1_000_000))
        ended = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(10):
            while not ended.done():
                writer.write(b"x")
                await asyncio.wait({ended}, timeout=0.01)
        writer.close()


async def test_a_message_that_has_no_room_once_it_is_read_is_refused_by_its_id() -> None:
    """It arrived behind calls of its socket, and others took the room meanwhile."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def stats(request: Any) -> queue_pb2.GetStatsResponse:
        gate = gates.get(len(link.asked))
        if gate is not None:
            await gate.wait()
        return queue_pb2.GetStatsResponse()

    def call(number: int, size: int = 0) -> bytes:
        return frame(b'{"id":%d,"method":"getStats"' % number + b" " * size + b"}")

    link = ScriptedLink(GetStats=stats)
    async with gateway(link, body_bytes_total=100_000, socket_in_flight=1, socket_waiting=1) as caller:
        reader, writer = await opened(caller)
        writer.write(call(1) + call(2) + call(3, 60_000))
        await until(lambda: len(link.asked) == 1)
        other_reader, other_writer = await opened(caller)
        other_writer.write(call(4, 60_000))
        await until(lambda: len(link.asked) == 2)
        gates[1].set()
        answers = {said["id"]: said for said in [await answer(reader) for _ in range(3)]}
        assert [answers[number]["ok"] for number in (1, 2, 3)] == [True, True, False]
        assert answers[3]["error"]["reason"] == "TOO_MANY_REQUESTS"
        gates[2].set()
        assert (await answer(other_reader))["id"] == 4
        await until(lambda: caller.gateway.budget.used == 0)
        writer.close()
        other_writer.close()


async def test_frames_that_wait_are_bounded_for_all_sockets_together() -> None:
    gate = asyncio.Event()

    async def stats(request: Any) -> queue_pb2.GetStatsResponse:
        await gate.wait()
        return queue_pb2.GetStatsResponse()

    limits = {"socket_in_flight": 1, "socket_waiting_bytes_total": 20_000}
    async with gateway(ScriptedLink(GetStats=stats), **limits) as caller:
        sockets = [await opened(caller) for _ in range(4)]
        calls = 100
        for _, writer in sockets:
            writer.write(frame(b'{"id":1,"method":"getStats"' + b" " * 1_000 + b"}") * calls)
        await until(lambda: caller.gateway.calls.under_way == 4)
        await until(lambda: caller.gateway.sockets.waiting_bytes >= 20_000)
        assert caller.gateway.sockets.waiting_bytes <= 20_000 + 4 * 1_100
        gate.set()
        for reader, writer in sockets:
            for _ in range(calls):
                assert (await answer(reader))["ok"] is True
            writer.close()
        assert caller.gateway.sockets.waiting_bytes == 0


async def test_a_lost_socket_keeps_nothing_of_what_it_had_sent() -> None:
    """The library's next ping, half a minute away, kept it, and the collector would not have helped."""

    def kept() -> int:
        # By `type`: `isinstance` asks objects for their `__class__`, and those of other libraries may mind.
        return sum(issubclass(type(each), aiohttp.web.WebSocketResponse) for each in gc.get_objects())

    async with gateway() as caller:
        gc.collect()
        gc.disable()
        try:
            before = kept()
            for _ in range(5):
                _, writer = await opened(caller)
                writer.write(frame(b"x" * HALF_MIB, announced=2 * HALF_MIB))
                await until(lambda: caller.gateway.budget.used >= HALF_MIB)
                writer.transport.abort()
                await until(lambda: caller.gateway.sockets.open == 0)
            await until(lambda: kept() <= before)
        finally:
            gc.enable()

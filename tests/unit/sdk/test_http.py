"""Gateways that misbehave, are away, or are not gateways at all."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from osqueue import OsqueueClient, Resync, TransportConnectionError, TransportRequestError
from osqueue.messages import JobEvent
from tests.unit.sdk.scripted_broker import ScriptedBroker, running


@asynccontextmanager
async def serving(handler):
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def rest(*addresses, **options):
    options = {"retry_delay_ms": 0, "max_retries": 0} | options
    return OsqueueClient([f"http://{address}" for address in addresses], **options)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"\xff"), (200, b'{"total": "many"}'), (404, b"not here"), (302, b"")]
)
async def test_what_is_no_gateway_is_told_so(status, body):
    async def handler(request):
        return web.Response(status=status, body=body)

    async with serving(handler) as address, rest(address) as client:
        with pytest.raises(TransportRequestError) as raised:
            await client.get_stats()
    assert (raised.value.method, raised.value.path, raised.value.status) == ("GET", "/v1/stats", status)


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 408, 413, 429, 500, 502, 503, 504])
async def test_a_page_of_a_load_balancer_is_an_outage(status):
    pages = 3

    async def handler(request):
        nonlocal pages
        pages -= 1
        if pages >= 0:
            return web.Response(status=status, text="<html>nginx</html>", content_type="text/html")
        return web.json_response({"total": 7, "counts": {"total": 7}})

    async with serving(handler) as address, rest(address, max_retries=3) as client:
        assert (await client.get_stats()).counts.total == 7


@pytest.mark.parametrize("status", [401, 403, 404, 429, 502, 503])
async def test_a_page_instead_of_a_socket_is_an_outage(status):
    sockets, pages = Sockets(), 3

    async def handler(request):
        nonlocal pages
        pages -= 1
        if pages >= 0:
            return web.Response(status=status, text="<html>nginx</html>", content_type="text/html")
        return await sockets(request)

    async with serving(handler) as address, OsqueueClient(f"ws://{address}", retry_delay_ms=0) as client:
        call = asyncio.ensure_future(client.get_stats())
        await answer(sockets, {"counts": {"total": 7}})
        assert (await call).counts.total == 7


async def test_a_page_instead_of_events_is_an_outage():
    async def handler(request):
        return web.Response(text="<html>nginx</html>", content_type="text/html")

    async with serving(handler) as address, rest(address) as client:
        with pytest.raises(TransportRequestError, match="text/html"):
            await anext(client.watch())


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_grpc_on_the_port_is_said_at_once(scheme):
    async with running(broker := ScriptedBroker()), OsqueueClient(f"{scheme}://{broker.address}") as client:
        with pytest.raises(
            TransportRequestError, match=r"a gRPC server answers at .* write http://host:8080"
        ) as raised:
            await client.get_stats()
        assert raised.value.reason == "WRONG_PROTOCOL"


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_plain_text_where_tls_was_expected_is_said_at_once(scheme):
    async with serving(lambda request: web.Response()) as address, OsqueueClient(f"{scheme}://{address}") as client:
        with pytest.raises(TransportRequestError, match="does not speak TLS"):
            await client.get_stats()


async def test_a_broken_connection_is_an_outage():
    async def handler(request):
        request.transport.abort()

    async with serving(handler) as address, rest(address) as client:
        with pytest.raises(TransportConnectionError, match="cannot reach the gateway"):
            await client.get_stats()


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_the_next_gateway_is_tried(scheme):
    async def handler(request):
        if request.headers.get("Upgrade") != "websocket":
            return web.json_response({"total": 7})
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            call = json.loads(message.data)
            await ws.send_json({"id": call["id"], "ok": True, "result": {"total": 7, "counts": {"total": 7}}})
        return ws

    async with serving(handler) as address:
        urls = [f"{scheme}://127.0.0.1:1", f"{scheme}://{address}"]
        async with OsqueueClient(urls, retry_delay_ms=0) as client:
            await client.get_stats()
            assert client.state().address == address


async def test_odd_ids_stay_in_their_segment():
    paths = []

    async def handler(request):
        paths.append(request.raw_path)
        return web.json_response({})

    async with serving(handler) as address, rest(address) as client:
        await client.get_job("a/../b?c=d#e ö")
    assert paths == ["/v1/jobs/a%2F..%2Fb%3Fc%3Dd%23e%20%C3%B6"]


async def test_a_gateway_may_live_below_a_path():
    async def handler(request):
        return web.json_response({"job": {"id": request.raw_path}})

    async with serving(handler) as address, rest(f"{address}/queue/") as client:
        assert (await client.get_job("j")).id == "/queue/v1/jobs/j"


async def test_events_are_read_and_go_on_where_they_ended():
    seen = []

    async def handler(request):
        seen.append(request.query_string)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"retry: 1000\n\n: quiet\n\nevent: newer\ndata: {}\n\n")
        await answer.write(b'event: job\r\ndata: {"jobId": "j%d"}\r\nid: 2.%d\r\n\r\n' % (len(seen), len(seen)))
        return answer

    async with serving(handler) as address, rest(address, max_retries=3) as client:
        events = client.watch()
        assert [(await anext(events)).job_id for _ in range(3)] == ["j1", "j2", "j3"]
        await events.aclose()
    assert seen == ["", "after=2.1", "after=2.2"]


async def test_a_watch_that_is_cut_off_says_why():
    async def handler(request):
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        error = {"_tag": "BrokerProtocolError", "message": "enough", "reason": "INVALID_REQUEST"}
        await answer.write(b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")
        return answer

    async with serving(handler) as address, rest(address) as client:
        with pytest.raises(Exception, match="enough"):
            await anext(client.watch())


class Sockets:
    """A gateway that answers WebSocket calls as the test says."""

    def __init__(self):
        self.opened = 0
        self.frames = asyncio.Queue()

    async def __call__(self, request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.opened += 1
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await self.frames.put((ws, json.loads(message.data)))
        await self.frames.put((ws, None))
        return ws


async def answer(sockets, result=None):
    ws, call = await sockets.frames.get()
    await ws.send_json({"id": call["id"], "ok": True, "result": result or {}})
    return call["method"]


async def test_calls_share_a_socket_and_waits_have_their_own():
    sockets = Sockets()
    async with serving(sockets) as address, OsqueueClient(f"ws://{address}") as client:
        waiting = [asyncio.ensure_future(client.wait_job("j", 30_000)) for _ in range(3)]
        for _ in range(3):
            await sockets.frames.get()
        claims = [asyncio.ensure_future(client.claim_jobs("w", wait_ms=30_000)) for _ in range(2)]
        for _ in range(2):
            await sockets.frames.get()
        stats = [asyncio.ensure_future(client.get_stats()) for _ in range(3)]
        for _ in range(3):
            assert await answer(sockets) == "getStats"
        await asyncio.gather(*stats)
        assert sockets.opened == 1 + 2 + 1  # all waits, each claim, all calls
        for call in (*waiting, *claims):
            call.cancel()


async def test_a_cancelled_claim_closes_its_socket():
    sockets = Sockets()
    async with serving(sockets) as address, OsqueueClient(f"ws://{address}") as client:
        claim = asyncio.ensure_future(client.claim_jobs("w", wait_ms=30_000))
        await sockets.frames.get()
        claim.cancel()
        _, goodbye = await sockets.frames.get()
        assert goodbye is None


async def test_a_socket_that_closes_is_an_outage_for_its_calls():
    sockets = Sockets()
    async with serving(sockets) as address, OsqueueClient(f"ws://{address}", max_retries=0) as client:
        calls = [asyncio.ensure_future(client.get_stats()) for _ in range(2)]
        (ws, _), _ = await sockets.frames.get(), await sockets.frames.get()
        await ws.close()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [TransportConnectionError] * 2


@pytest.mark.parametrize("frame", ["not json", "[]", '{"ok": true}', '{"id": 1, "ok": true}'])
async def test_frames_that_are_no_answers_are_told(frame):
    sockets = Sockets()
    async with serving(sockets) as address, OsqueueClient(f"ws://{address}", max_retries=0) as client:
        call = asyncio.ensure_future(client.get_stats())
        ws, _ = await sockets.frames.get()
        await ws.send_str(frame)
        with pytest.raises(TransportRequestError, match="not understood"):
            await call


async def test_a_watch_over_a_socket():
    sockets = Sockets()
    async with serving(sockets) as address, OsqueueClient(f"ws://{address}", retry_delay_ms=0) as client:
        events = client.watch()
        first = asyncio.ensure_future(anext(events))
        ws, call = await sockets.frames.get()
        await ws.send_json({"id": call["id"], "ok": True, "result": {"subscription": "w1"}})
        await ws.send_json({"event": "job", "subscription": "w1", "data": {"kind": "DEAD", "jobId": "j"}})
        assert await first == JobEvent("dead", "j")
        again = asyncio.ensure_future(anext(events))
        await ws.send_json({"event": "end", "subscription": "w1", "data": {}})
        assert isinstance(await again, Resync)  # this transport has no position to go on from
        await events.aclose()

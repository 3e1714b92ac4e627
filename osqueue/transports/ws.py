"""The WebSocket transport: the API's calls as JSON-RPC frames to a gateway, many at once on one socket.

A call that waits for something has a socket to wait on, so that the others do not wait
behind it. A waiting claim has one for itself: closing it is how the gateway learns that
nobody wants the job any more.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from osqueue.api.descriptors import RPCS
from osqueue.api.events import frame_of
from osqueue.api.json_shapes import read_answer, shape
from osqueue.api.json_text import JsonError, encode, spaced_members
from osqueue.credentials import Credentials
from osqueue.errors import AuthError, OsqueueError, TransportConnectionError, TransportRequestError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.connect_stream import connect_stream
from osqueue.transports.http import Gateways, import_aiohttp
from osqueue.transports.json_errors import from_tagged, too_late
from osqueue.transports.wire import WireTransport

if TYPE_CHECKING:
    import aiohttp

PATH = "/v1/ws"
WAITS_PER_SOCKET = 48
"""Below the 64 calls that a gateway runs at once for one socket."""

PING_S = 3.0
"""With half of it for the answer, a dead connection is noticed within 5 s."""

EVENTS_MAX = 1_000
"""Read ahead of a slow watcher; beyond it the gateway notices, and drops the watch."""

CLOSED = TransportConnectionError("the socket to the gateway was closed")


class _Socket:
    """One open socket: frames out, answers and events in."""

    def __init__(self, ws: "aiohttp.ClientWebSocketResponse[bool]", endpoint: Endpoint, shown: dict[str, str]) -> None:
        self.endpoint = endpoint
        self.shown = shown
        """The headers that it was opened with."""
        self.calls = 0
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._events: asyncio.Queue[tuple[str, bytes, bytes] | None] = asyncio.Queue(EVENTS_MAX)
        self._problem: OsqueueError | None = None
        self._reader = asyncio.ensure_future(self._read())

    @property
    def closed(self) -> bool:
        return self._ws.closed or self._reader.done()

    async def call(self, method: str, params: dict[str, Any]) -> bytes:
        """The text of the call's result."""
        number = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._ws.send_str(encode({"id": number, "method": method, "params": params}).decode())
            return await answer
        finally:
            self.calls -= 1
            self._waiting.pop(number, None)
            del answer  # it keeps what it raises, and that this frame with the request

    async def event(self) -> tuple[str, bytes, bytes]:
        """The next event's name and data, and the position up to which all have come, if it tells one."""
        if self._problem is not None and self._events.empty():
            raise self._problem
        found = await self._events.get()
        if found is None:
            raise self._problem or CLOSED
        return found

    async def close(self) -> None:
        self._reader.cancel()
        await self._ws.close()
        self._end(CLOSED)

    async def _read(self) -> None:
        aiohttp = import_aiohttp()
        problem: OsqueueError = TransportConnectionError(f"{self.endpoint.authority} closed the socket")
        try:
            async for message in self._ws:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    await self._take(spaced_members(message.data))
        except (KeyError, ValueError) as error:
            problem = TransportRequestError(f"{self.endpoint.authority} sent what is not understood: {error}")
        finally:
            self._end(problem)

    async def _take(self, frame: dict[str, bytes]) -> None:
        if "event" in frame:
            await self._events.put((json.loads(frame["event"]), frame["data"], frame.get("position", b"")))
            return
        answer = self._waiting.get(json.loads(frame["id"]))
        if answer is None or answer.done():  # its caller has gone
            return
        if json.loads(frame["ok"]) is True:
            answer.set_result(frame["result"])
        else:
            answer.set_exception(from_tagged(json.loads(frame["error"]), method="WS", path=PATH, status="error"))

    def _end(self, problem: OsqueueError) -> None:
        self._problem = self._problem or problem
        if not self._events.full():
            self._events.put_nowait(None)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(type(problem)(problem.message))


class WsLink:
    """Frames on as few sockets as will do."""

    def __init__(self, endpoints: Sequence[Endpoint], token: str | Credentials = "") -> None:
        self._gateways = Gateways(endpoints, token)
        self._sockets: dict[str, list[_Socket]] = {"call": [], "wait": [], "claim": []}
        self._opening = asyncio.Lock()

    @property
    def address(self) -> str:
        return self._gateways.endpoint.authority

    def clone(self) -> "WsLink":
        return WsLink(self._gateways.endpoints, self._gateways.credentials)

    async def close(self) -> None:
        for sockets in self._sockets.values():
            while sockets:
                await sockets.pop().close()
        await self._gateways.close()

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """One attempt of the unary RPC `name`."""
        waits = bool(getattr(request, "wait_ms", 0))
        purpose = "call" if not waits else "claim" if name == "ClaimJobs" else "wait"
        endpoint = self._gateways.endpoint
        socket: _Socket | None = None
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                socket = await self._socket(purpose)
                text = await socket.call(name[0].lower() + name[1:], shape(request.DESCRIPTOR).write_request(request))
            answer = read_answer(text, RPCS[name].response())
        except TimeoutError as error:
            self._gateways.move_on(endpoint)
            if purpose == "claim":
                await self._drop(socket)
            raise too_late(endpoint.authority, name, timeout_ms) from error
        except JsonError as error:
            raise TransportRequestError(f"the answer to {name} is not understood: {error}") from error
        except ConnectionError as error:
            raise self._gateways.unreachable(endpoint, error) from error
        except AuthError as error:
            if socket is None:
                raise
            after = await self._gateways.after(error, socket.shown)
            if after is not error:  # the socket stays with the token that it was opened with
                await self._drop(socket)
            raise after from error
        except asyncio.CancelledError:
            if purpose == "claim":
                await self._drop(socket)
            raise
        self._gateways.hear()
        return answer

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of WatchJobs, on a socket of their own; those of GetState by Connect, beside the sockets."""
        if name != "WatchJobs":
            async for message in connect_stream(self._gateways, name, request):
                yield message
            return
        socket = await self._open()
        try:
            await socket.call(name[0].lower() + name[1:], shape(request.DESCRIPTOR).write_request(request))
            while True:
                event, data, position = await socket.event()
                if event == "end":
                    return
                if event == "error":
                    raise from_tagged(json.loads(data), method="WS", path=PATH, status="error")
                message = frame_of(event, data)
                if message is None:
                    continue
                if position:
                    read_answer(position, message.position)
                yield message
        except (ConnectionError, ValueError) as error:
            raise self._gateways.unreachable(socket.endpoint, error) from error
        finally:
            await socket.close()

    async def _socket(self, purpose: str) -> _Socket:
        """An open socket with room for one more call of this kind, which takes its place there."""
        room = {"call": 1_000_000, "wait": WAITS_PER_SOCKET, "claim": 1}[purpose]
        async with self._opening:
            sockets = self._sockets[purpose]
            sockets[:] = [socket for socket in sockets if not socket.closed]
            for socket in sockets:
                if socket.calls < room and socket.endpoint is self._gateways.endpoint:
                    break
            else:
                socket = await self._open()
                sockets.append(socket)
            socket.calls += 1
            return socket

    async def _open(self) -> _Socket:
        aiohttp = import_aiohttp()
        endpoint = self._gateways.endpoint
        shown = await self._gateways.headers()
        try:
            ws = await self._gateways.session().ws_connect(
                self._gateways.url(endpoint, "ws", PATH),
                headers=shown,
                max_msg_size=0,
                heartbeat=PING_S,
                decode_text=False,
            )
        except aiohttp.WSServerHandshakeError as error:
            self._gateways.move_on(endpoint)
            refused = from_tagged(_shown(error), method="GET", path=PATH, status=error.status)
            raise await self._gateways.after(refused, shown) from error
        except aiohttp.ClientError as error:
            self._gateways.move_on(endpoint)
            raise self._gateways.unreachable(endpoint, error) from error
        return _Socket(ws, endpoint, shown)

    async def _drop(self, socket: _Socket | None) -> None:
        if socket is not None:
            for sockets in self._sockets.values():
                if socket in sockets:
                    sockets.remove(socket)
            await socket.close()


class WsTransport(WireTransport):
    """Speaks JSON-RPC to a gateway."""

    def __init__(self, endpoints: Sequence[Endpoint], *, token: str | Credentials = "") -> None:
        super().__init__("ws", WsLink(endpoints, token))


def _shown(error: Any) -> dict[str, str] | None:
    """A refused handshake, as far as its status tells: the library does not pass its body on. Our gateway refuses in
    JSON, a load balancer with a page."""
    if "json" not in (error.headers or {}).get("Content-Type", ""):
        return None
    if error.status in (401, 403):
        reason = "UNAUTHENTICATED" if error.status == 401 else "PERMISSION_DENIED"
        return {"_tag": "AuthError", "message": f"the gateway refused the socket: {error.status}", "reason": reason}
    if error.status in (429, 503):
        return {"_tag": "QueueFullError", "message": "the gateway is busy", "reason": "TOO_MANY_REQUESTS"}
    return None

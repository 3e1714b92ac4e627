"""WebSocket JSON-RPC: many calls at once on one socket, and watches.

`{id, method, params}` is answered with `{id, ok: true, result}` or `{id, ok: false, error}`, in whatever order the
answers come. The id is echoed as its text came.
"""

import asyncio
from collections import deque
from typing import Any, cast

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from osqueue.api.events import events_of
from osqueue.api.json_readers import ShapeError, read_string
from osqueue.api.json_shapes import shape
from osqueue.api.json_text import JsonError, Raw, encode, members, shortened
from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, OsqueueError, QueueFullError, Violation
from osqueue_gateway.bodies import Budget, Message, apart
from osqueue_gateway.calls import FIRST_FRAME_MS, Calls, Feed, FeedEnded
from osqueue_gateway.errors import Refusal, overloaded, problem_of
from osqueue_gateway.limits import Limits
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.protection import SOCKET_PROTOCOL
from osqueue_gateway.routes import NOTHING, WS_METHODS, Route
from osqueue_gateway.server import Connection
from osqueue_protocol.rpcs import RPCS

ENVELOPE_KEYS = {"id", "method", "params", "jsonrpc"}
ID_BYTES_MAX = 256
NULL = Raw(b"null")
EMPTY = Raw(b"{}")

WATCH = "watchJobs"
UNWATCH = "unwatch"


class Sockets:
    """All WebSockets of the gateway."""

    def __init__(self, calls: Calls, limits: Limits, budget: Budget, metrics: Metrics) -> None:
        self._calls = calls
        self._limits = limits
        self._budget = budget
        self._metrics = metrics
        self._sockets: set[Socket] = set()
        self.waiting_bytes = 0
        """Of frames that wait, all together."""

    @property
    def open(self) -> int:
        """Sockets open now."""
        return len(self._sockets)

    async def serve(self, http: web.BaseRequest) -> web.StreamResponse:
        """One socket, from its handshake to its end."""
        if len(self._sockets) >= self._limits.sockets:
            raise overloaded(f"{self._limits.sockets} WebSockets")
        ws = web.WebSocketResponse(
            protocols=(SOCKET_PROTOCOL,),
            compress=False,  # a small frame cannot unfold into a large one
            max_msg_size=self._limits.body_bytes,
            heartbeat=self._limits.socket_ping_ms / 1_000,
            decode_text=False,
        )
        try:
            await ws.prepare(http)
        except web.HTTPBadRequest as error:
            raise Refusal(
                426 if hdrs.UPGRADE not in http.headers else 400,
                f"this is a WebSocket: {error.text or 'bad handshake'}",
                headers={hdrs.UPGRADE: "websocket"},
            ) from None
        peer = cast(Connection, http.protocol)
        message = peer.message = Message(self._budget)
        socket = Socket(ws, peer, message, self, self._calls, self._limits, self._budget, self._metrics)
        self._sockets.add(socket)
        try:
            await socket.run()
        finally:
            self._sockets.discard(socket)
            await _end(ws)
        return ws

    async def drain(self) -> None:
        """Let the calls of every socket finish, then close it."""
        await asyncio.gather(*(socket.drain() for socket in list(self._sockets)))


async def _end(ws: "web.WebSocketResponse[bool]") -> None:
    """Close the socket whatever has happened to it. Of a lost connection the library's next ping would keep all that
    had arrived until its time comes, and the error that it remembers would keep it until a collection."""
    await ws.close()
    error = ws.exception()
    if error is not None:
        error.__traceback__ = error.__context__ = None


class Socket:
    """One socket: reads frames, runs a limited number of calls at a time, sends their answers as they come."""

    def __init__(
        self,
        ws: "web.WebSocketResponse[bool]",
        peer: Connection,
        message: Message,
        all_sockets: Sockets,
        calls: Calls,
        limits: Limits,
        budget: Budget,
        metrics: Metrics,
    ) -> None:
        self._ws = ws
        self._peer = peer
        self._message = message
        self._all = all_sockets
        self._calls = calls
        self._limits = limits
        self._budget = budget
        self._metrics = metrics
        self._clock = asyncio.get_running_loop().time
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._watches_ever = 0
        self._draining = False

    async def run(self) -> None:
        """Until the socket closes; then whatever it still waits for is cancelled."""
        try:
            while True:
                self._message.awaited()
                message = await self._ws.receive()
                self._message.end()
                if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
                    return
                if not self._has_room(message.data):
                    await self._refuse(message.data)
                    continue
                self._waiting.append(message.data)
                self._count_waiting(len(message.data))
                self._start_waiting()
                while self._full:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
        finally:
            for frame in self._waiting:
                self._count_waiting(-len(frame))
                self._budget.give(len(frame))
            self._waiting.clear()
            for task in (*self._running, *self._watches.values()):
                task.cancel()

    async def drain(self) -> None:
        """Start no more calls, finish those under way, close. Watches end by themselves when the gateway stops."""
        self._draining = True
        while under_way := {*self._running, *self._watches.values()}:
            await asyncio.wait(under_way)
        await self._ws.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")

    @property
    def _full(self) -> bool:
        limits = self._limits
        return (
            len(self._waiting) >= limits.socket_waiting
            or self._waiting_bytes >= limits.socket_waiting_bytes
            or (bool(self._waiting) and self._all.waiting_bytes >= limits.socket_waiting_bytes_total)
        )

    def _count_waiting(self, size: int) -> None:
        self._waiting_bytes += size
        self._all.waiting_bytes += size

    def _has_room(self, frame: bytes) -> bool:
        """Take the room that a frame needs, from now until it is answered."""
        try:
            self._budget.take(len(frame))
        except QueueFullError:
            return False
        return True

    async def _refuse(self, frame: bytes) -> None:
        """Say that there is no room for this frame."""
        try:
            identifier = _identifier(_envelope(frame))
        except OsqueueError:
            identifier = NULL
        problem = problem_of(overloaded("large requests and answers under way"))
        await self._send({"id": identifier, "ok": False, "error": problem.as_json()})

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._limits.socket_in_flight and not self._draining:
            frame = self._waiting.popleft()
            self._count_waiting(-len(frame))
            task = asyncio.get_running_loop().create_task(self._answer(frame))
            self._running.add(task)
            task.add_done_callback(self._finished)
        if self._room is not None and not self._room.done() and not self._full:
            self._room.set_result(None)
            self._room = None

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start_waiting()

    async def _answer(self, frame: bytes) -> None:
        """One call, from its frame to its answer."""
        started = self._clock()
        identifier, name, mutates, status = NULL, "none", False, 200
        try:
            try:
                envelope = _envelope(frame)
                identifier = _identifier(envelope)
                method, params = _method(envelope)
                if method == WATCH:
                    await self._watch(identifier, params)
                    return
                if method == UNWATCH:
                    name = UNWATCH
                    await self._send({"id": identifier, "ok": True, "result": self._unwatch(params)})
                else:
                    route = _route(method)
                    name, mutates = route.rpc.name, route.rpc.mutates
                    await self._call(identifier, route, params)
            finally:
                self._budget.give(len(frame))
        except Exception as error:  # noqa: BLE001 - not swallowed: it is answered, and logged when nobody foresaw it
            problem = problem_of(error, mutates=mutates)
            status = problem.fault.status
            await self._send({"id": identifier, "ok": False, "error": problem.as_json()})
        self._metrics.answered("ws", name, status, self._clock() - started)

    async def _call(self, identifier: Raw, route: Route, params: Raw) -> None:
        size = len(memoryview(params))
        request = await apart(size, lambda: shape(route.rpc.request.DESCRIPTOR).read(params))
        self._calls.require_size(request, size)
        answer = await self._calls.call(route.rpc, request)
        told = {"id": identifier, "ok": True, "result": route.answer(request, answer)}
        await self._calls.deliver(self._peer, route.rpc, request, lambda: self._send(told))

    async def _send(self, message: dict[str, Any]) -> None:
        body = encode(message)
        self._budget.take(len(body))
        try:
            await self._ws.send_frame(body, WSMsgType.TEXT)
        except ConnectionError:  # nobody is left to be told; the reader ends the socket
            self._metrics.count("callers_gone")
        finally:
            self._budget.give(len(body))

    async def _watch(self, identifier: Raw, params: Raw) -> None:
        """A watch, from its answer to its end. From now on it is not counted as a call under way."""
        task = asyncio.current_task()
        assert task is not None, "frames are answered in tasks"
        if len(self._watches) >= self._limits.socket_watches:
            raise overloaded(f"{self._limits.socket_watches} watches of one WebSocket")
        request = shape(_WATCH_RPC.request.DESCRIPTOR).read(params)
        self._watches_ever += 1
        name = f"watch-{self._watches_ever}"
        self._watches[name] = task
        self._finished(task)
        try:
            async with self._calls.feed(_WATCH_RPC, request) as feed:
                frame = await feed.next(within_ms=FIRST_FRAME_MS)
                await self._send({"id": identifier, "ok": True, "result": {"subscription": name}})
                await self._forward(name, feed, frame)
        except FeedEnded:
            await self._send({"id": identifier, "ok": True, "result": {"subscription": name}})
            await self._send({"event": "end", "subscription": name, "data": {}})
        finally:
            del self._watches[name]

    async def _forward(self, name: str, feed: Feed, frame: Any) -> None:
        try:
            while True:
                if frame is not None:
                    for message in _event_frames(frame):
                        await self._send({**message, "subscription": name})
                frame = await feed.next()
        except FeedEnded:
            await self._send({"event": "end", "subscription": name, "data": {}})
        except Exception as error:  # noqa: BLE001 - not swallowed: the watcher is told, and watches again
            self._metrics.count("events_dropped")
            await self._send({"event": "error", "subscription": name, "data": problem_of(error).as_json()})

    def _unwatch(self, params: Raw) -> dict[str, Any]:
        try:
            given = members(params)
            name = read_string(given.pop("subscription", NULL), "subscription")
        except JsonError as error:
            raise ShapeError([Violation("subscription", str(error))]) from None
        if given:
            raise ShapeError(
                Violation(shortened(key), "is not a key of this request; the only one is subscription") for key in given
            )
        if name not in self._watches:
            raise ShapeError([Violation("subscription", f"this socket has no watch {name[:100]!r}")])
        self._watches[name].cancel()
        return NOTHING


_WATCH_RPC = RPCS["WatchJobs"]


def _event_frames(frame: Any) -> list[dict[str, Any]]:
    """What a watch is sent. The position stands in the last of a frame's events: whoever saw that has seen them all."""
    messages = [{"event": event, "data": data} for event, data in events_of(frame)]
    if messages and frame.HasField("position"):
        messages[-1]["position"] = shape(frame.position.DESCRIPTOR).write(frame.position)
    return messages


def _envelope(frame: bytes) -> dict[str, Raw]:
    try:
        return members(frame)
    except JsonError:
        raise BrokerProtocolError("Invalid JSON", reason=INVALID_REQUEST) from None


def _identifier(envelope: dict[str, Raw]) -> Raw:
    identifier = envelope.get("id", NULL)
    if len(memoryview(identifier)) > ID_BYTES_MAX:
        raise BrokerProtocolError(f"id: is longer than {ID_BYTES_MAX} bytes", reason=INVALID_REQUEST)
    return identifier


def _method(envelope: dict[str, Raw]) -> tuple[str, Raw]:
    unknown = envelope.keys() - ENVELOPE_KEYS
    if unknown:
        raise ShapeError(
            Violation(shortened(key), "is not a key of a call, which has id, method, params") for key in sorted(unknown)
        )
    try:
        method = read_string(envelope.get("method", NULL), "method")
    except JsonError as error:
        raise ShapeError([Violation("method", str(error))]) from None
    params = envelope.get("params", EMPTY)
    return method, EMPTY if bytes(params) == b"null" else params


def _route(method: str) -> Route:
    route = WS_METHODS.get(method)
    if route is None:
        raise BrokerProtocolError(f"Unsupported WS method: {method[:100]}", reason=INVALID_REQUEST)
    return route

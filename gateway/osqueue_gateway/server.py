"""The HTTP server: aiohttp's own, with bounds on connections and on the time a peer may take.

aiohttp bounds line and header sizes, the number of headers and of pipelined requests, and idle time. Added here: a cap
on connections, of which those that ask for nothing give way, a deadline for a request's head, an end to peers that do
not read their answers, and tagged errors for
what is not HTTP.
"""

import asyncio
import heapq
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from osqueue.api.json_text import encode
from osqueue_gateway.bodies import Message
from osqueue_gateway.errors import Refusal, problem_of
from osqueue_gateway.hearing import Hearing
from osqueue_gateway.limits import Limits
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.wire import JSON, headers_of

log = logging.getLogger("osqueue.gateway")

SWEEP_S = 1.0

GIVE_WAY = 64
"""One connection in this many gives way at once."""

_FULL = encode(
    {
        "_tag": "QueueFullError",
        "message": "the gateway is at its limit of connections; try again",
        "reason": "TOO_MANY_REQUESTS",
    }
)
_FULL_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_FULL)
) + _FULL


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("_clock", "_head_since", "_heard_at", "_server", "_stuck_since", "hearing", "leaving", "message")

    def __init__(self, server: "Server", *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self._server = server
        self._clock = loop.time
        self._head_since: float | None = None
        self._stuck_since: float | None = None
        self._heard_at = self._clock()
        self.hearing = Hearing(self._clock)
        self.leaving = False
        """It was told to give way to another."""
        self.message: Message | None = None
        """What is arriving at a WebSocket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.full and not self._server.make_room():
            self._server.metrics.count("connections_refused")
            self._force_close = True
            cast(asyncio.Transport, transport).write(_FULL_ANSWER)
            cast(asyncio.Transport, transport).close()
            return
        self._head_since = self._clock()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.message is not None and not self.message.grow(data) and self.transport is not None:
            self._server.metrics.count("messages_given_up")
            self.transport.abort()
            return
        self.hearing.spoken(self.transport)
        super().data_received(data)
        self._heard_at = self._clock()
        if self._messages or self._current_request is not None or self._upgraded:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self._clock()

    def eof_received(self) -> None:
        self.hearing.hung_up(self.transport)
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.hearing.lost(exc)
        if self.leaving:
            self._server.leaving -= 1
        if self.message is not None:
            self.message.end()
        super().connection_lost(exc)
        self._data_received_cb = None  # a WebSocket's method: it keeps the socket, and the socket this connection

    @property
    def is_there(self) -> bool:
        """It is open still, as far as is known."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def asks_for_nothing_since(self) -> float | None:
        """Since when it has not brought a whole request, or none after the last; None while it has one under way."""
        if self._messages or self._current_request is not None or self._upgraded or self.leaving:
            return None
        return self._heard_at if self._head_since is None else self._head_since

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_since = self._clock()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck_since = None

    def expire(self, head_before: float, stuck_before: float, message_before: float) -> None:
        """Close the connection when its peer has taken too long."""
        if self.message is not None and self.message.is_late(message_before) and self.transport is not None:
            self._server.metrics.count("messages_given_up")
            self.transport.abort()
            return
        if self._head_since is not None and self._head_since < head_before:
            self._server.metrics.count("heads_expired")
            self.force_close()
        elif self._stuck_since is not None and self._stuck_since < stuck_before and self.transport is not None:
            self._server.metrics.count("slow_readers_dropped")
            self.transport.abort()  # closing would wait for the peer to read

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Tagged JSON for what could not be read as HTTP, and for what our own handler did not foresee."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was already under way")
        if status == 400:
            self._server.metrics.count("malformed_requests")
            log.debug("malformed request from %s: %s", request.remote, message)
            problem = problem_of(Refusal(400, f"not HTTP: {(message or 'malformed request').strip()}"))
        else:
            problem = problem_of(exc if isinstance(exc, Exception) else RuntimeError(f"status {status}"))
        response = web.Response(status=status, body=encode(problem.as_json()), headers=headers_of(request, JSON))
        response.force_close()
        return response


def allow_connections(count: int) -> None:
    """Raise this process's limit of open files to what `count` connections need, as far as the system lets it."""
    needed = count + FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "this process may open %d files, which is less than %d connections need: raise ulimit -n", hard, count
        )


FILES_BESIDES = 256
"""Open files besides connections: logs, sockets to brokers, those of a broker in the same process."""


class Server(web.Server):
    """Makes the connections, and looks after those that take too long."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_ms / 1_000,
            lingering_time=1.0,
        )
        self.metrics = metrics
        self.leaving = 0
        """Connections that were told to give way, and are not gone yet."""
        self._limits = limits
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @property
    def full(self) -> bool:
        """No more connections are taken."""
        return len(self._connections) - self.leaving >= self._limits.connections

    def make_room(self) -> bool:
        """Close some of the connections that have asked for nothing for longest; False when there are none. Several at
        once, because finding them means looking at all."""
        waiting = [
            (since, number, connection)
            for number, connection in enumerate(cast("list[Connection]", self.connections))
            if (since := connection.asks_for_nothing_since) is not None
        ]
        for _, _, connection in heapq.nsmallest(max(1, self._limits.connections // GIVE_WAY), waiting):
            self.leaving += 1
            connection.leaving = True
            connection.force_close()
            self.metrics.count("connections_given_up")
        return bool(waiting)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def shutdown(self, timeout: float | None = None) -> None:
        self._sweeper.cancel()
        await super().shutdown(timeout)

    async def _sweep(self) -> None:
        clock = self._loop.time
        head_s, stuck_s = self._limits.head_ms / 1_000, self._limits.slow_reader_ms / 1_000
        message_s = self._limits.body_ms / 1_000
        pause_s = min(SWEEP_S, head_s / 2, stuck_s / 2, message_s / 2)
        while True:
            await asyncio.sleep(pause_s)
            now = clock()
            for connection in self.connections:
                cast(Connection, connection).expire(now - head_s, now - stuck_s, now - message_s)

"""Health, metrics, and the API's own description: the pages that call no RPC of the queue."""

import asyncio
import time
from collections.abc import Callable
from functools import cache

from aiohttp import web

from osqueue.api.json_text import encode
from osqueue.errors import OsqueueError
from osqueue_gateway.broker import Broker
from osqueue_gateway.calls import Calls
from osqueue_gateway.docs import CONTENT_SECURITY_POLICY, render
from osqueue_gateway.errors import Fault, Problem, problem_of
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.openapi import document
from osqueue_gateway.rest import error_response
from osqueue_gateway.wire import JSON, headers_of
from osqueue_protocol.in_turns import written
from osqueue_protocol.rpcs import RPCS

READY_MS = 1_500
"""How long a health check waits for a leader in all: what asks for /readyz has an answer within two seconds."""

READY_FOR_S = 0.5
"""How long one look serves all who ask: anybody may ask this, so it must not become load on the broker."""


class Pages:
    """Answers them."""

    def __init__(
        self, broker: Broker, calls: Calls, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._calls = calls
        self._metrics = metrics
        self._look: asyncio.Task[Problem | None] | None = None
        self._looked_at = float("-inf")
        self._clock = clock

    async def healthz(self, http: web.BaseRequest) -> web.StreamResponse:
        """The process lives."""
        return _page(http, _OK)

    async def readyz(self, http: web.BaseRequest) -> web.StreamResponse:
        """A broker leads, and this gateway reaches it."""
        if self._calls.draining:
            return error_response(http, _STOPPING)
        if self._look is None or (self._look.done() and self._clock() - self._looked_at > READY_FOR_S):
            self._looked_at = self._clock()
            self._look = asyncio.get_running_loop().create_task(self._find_leader())
        problem = await asyncio.shield(self._look)
        return _page(http, _READY) if problem is None else error_response(http, problem)

    async def metrics(self, http: web.BaseRequest) -> web.StreamResponse:
        """The gateway's figures for Prometheus."""
        clock = asyncio.get_running_loop().time
        parts = await written(self._metrics.pieces(), clock, lambda: asyncio.sleep(0))
        response = web.StreamResponse(headers=headers_of(http, "text/plain; version=0.0.4; charset=utf-8"))
        response.content_length = sum(map(len, parts))
        await response.prepare(http)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def openapi(self, http: web.BaseRequest) -> web.StreamResponse:
        """The REST routes as OpenAPI."""
        return _page(http, _openapi())

    async def docs(self, http: web.BaseRequest) -> web.StreamResponse:
        """The same for people."""
        page = _page(http, _docs(), "text/html; charset=utf-8")
        page.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        page.headers["X-Frame-Options"] = "DENY"
        page.headers["Referrer-Policy"] = "no-referrer"
        return page

    async def _find_leader(self) -> Problem | None:
        rpc = RPCS["GetStats"]
        problem: Problem | None = None
        began_s = self._clock()
        for _ in range(2):  # the first answer may be where the leader is
            left_ms = READY_MS - round((self._clock() - began_s) * 1_000)
            if left_ms <= 0:
                break
            try:
                await self._broker.probe(rpc, rpc.request(), left_ms)
            except OsqueueError as error:
                problem = problem_of(error)
            else:
                return None
        return problem


_STOPPING = Problem("NOT_LEADER", "this gateway stops", Fault(503, "BrokerLeadershipError", "unavailable"))


_OK, _READY = encode({"status": "ok"}), encode({"status": "ready"})


def _page(http: web.BaseRequest, body: bytes, media: str = JSON) -> web.Response:
    return web.Response(body=body, headers=headers_of(http, media))


@cache
def _openapi() -> bytes:
    return encode(document())


@cache
def _docs() -> bytes:
    return render(document())

"""The pages that are no calls: health, metrics, and the API's own description."""

import asyncio
from functools import cache

from aiohttp import hdrs, web

from gateway.broker import Broker
from gateway.calls import Calls
from gateway.docs import CONTENT_SECURITY_POLICY, render
from gateway.errors import Fault, Problem, problem_of
from gateway.metrics import Metrics
from gateway.openapi import document
from gateway.protection import cors_of
from gateway.rest import error_response
from gateway.rpcs import RPCS
from gateway.shapes import encode
from osqueue.errors import OsqueueError

READY_MS = 2_000
"""How long the leader may take to answer a health check."""

READY_FOR_S = 0.5
"""How long one look serves all who ask: anybody may ask this, so it must not become load on the broker."""


class Pages:
    """Answers them."""

    def __init__(self, broker: Broker, calls: Calls, metrics: Metrics) -> None:
        self._broker = broker
        self._calls = calls
        self._metrics = metrics
        self._look: asyncio.Task[Problem | None] | None = None
        self._looked_at = float("-inf")

    async def healthz(self, http: web.BaseRequest) -> web.StreamResponse:
        """The process lives."""
        return web.json_response({"status": "ok"}, dumps=_dumps)

    async def readyz(self, http: web.BaseRequest) -> web.StreamResponse:
        """A broker leads, and this gateway reaches it."""
        if self._calls.draining:
            return error_response(_STOPPING)
        clock = asyncio.get_running_loop().time
        if self._look is None or (self._look.done() and clock() - self._looked_at > READY_FOR_S):
            self._looked_at = clock()
            self._look = asyncio.get_running_loop().create_task(self._find_leader())
        problem = await asyncio.shield(self._look)
        return web.json_response({"status": "ready"}, dumps=_dumps) if problem is None else error_response(problem)

    async def metrics(self, http: web.BaseRequest) -> web.StreamResponse:
        """The gateway's figures for Prometheus."""
        return web.Response(
            body=self._metrics.render(),
            headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8", **cors_of(http)},
        )

    async def openapi(self, http: web.BaseRequest) -> web.StreamResponse:
        """The REST routes as OpenAPI."""
        return web.Response(body=_openapi(), headers={hdrs.CONTENT_TYPE: "application/json", **cors_of(http)})

    async def docs(self, http: web.BaseRequest) -> web.StreamResponse:
        """The same for people."""
        return web.Response(
            body=_docs(),
            headers={
                hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Referrer-Policy": "no-referrer",
            },
        )

    async def _find_leader(self) -> Problem | None:
        rpc = RPCS["GetStats"]
        for _ in range(2):  # the first answer may be where the leader is
            try:
                await self._broker.probe(rpc, rpc.request(), READY_MS)
            except OsqueueError as error:
                problem = problem_of(error)
            else:
                return None
        return problem


_STOPPING = Problem("NOT_LEADER", "this gateway stops", Fault(503, "BrokerLeadershipError", "unavailable"))


def _dumps(value: object) -> str:
    return encode(value).decode()


@cache
def _openapi() -> bytes:
    return encode(document())


@cache
def _docs() -> bytes:
    return render(document())

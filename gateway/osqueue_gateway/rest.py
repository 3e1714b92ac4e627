"""REST: a route's path, query and body to a request, its response or error to HTTP."""

from typing import cast

from aiohttp import hdrs, web
from google.protobuf.message import Message

from osqueue.api.json_shapes import shape
from osqueue.api.json_text import encode
from osqueue.api.queries import query_shape
from osqueue_gateway import wire
from osqueue_gateway.bodies import Budget, apart, read_body
from osqueue_gateway.calls import Calls
from osqueue_gateway.errors import Problem, Refusal
from osqueue_gateway.limits import Limits
from osqueue_gateway.protection import cors_of
from osqueue_gateway.routes import NOTHING, Route
from osqueue_gateway.server import Connection
from osqueue_gateway.trace_context import carry
from osqueue_gateway.wire import JSON, headers_of


class Rest:
    """Answers the unary routes."""

    def __init__(self, calls: Calls, limits: Limits, budget: Budget) -> None:
        self._calls = calls
        self._limits = limits
        self._budget = budget

    async def answer(self, http: web.BaseRequest, route: Route, identifier: str, query: str) -> web.StreamResponse:
        """The response of one call; raises what went wrong."""
        given = route.given(identifier)
        if route.method == hdrs.METH_GET:
            request = query_shape(route.rpc.request.DESCRIPTOR).read(query, given)
            return await self._respond(http, route, request)
        require_json(http)
        if query:
            raise Refusal(400, f"{route.path} takes no query parameters; put them into the JSON body")
        body = await read_body(http, self._limits, self._budget)
        try:
            reads = shape(route.rpc.request.DESCRIPTOR)
            request = await apart(len(body), lambda: reads.read(body or b"{}", given=given))
            carry(http.headers, request)
            self._calls.require_size(request, len(body))
            return await self._respond(http, route, request)
        finally:
            self._budget.give(len(body))

    async def _respond(self, http: web.BaseRequest, route: Route, request: Message) -> web.StreamResponse:
        answer = route.answer(request, await self._calls.call(route.rpc, request))
        if answer is NOTHING:
            return web.Response(status=204, headers={hdrs.SERVER: wire.SERVER, **cors_of(http)})
        peer = cast(Connection, http.protocol)
        return await self._calls.deliver(
            peer, route.rpc, request, lambda: wire.answer(http, encode(answer), self._budget)
        )


def require_json(http: web.BaseRequest) -> None:
    """Mutations need JSON's media type, which no web form and no foreign page can send unasked."""
    if hdrs.CONTENT_ENCODING in http.headers and http.headers[hdrs.CONTENT_ENCODING].lower() != "identity":
        raise Refusal(415, "compressed requests are not accepted; send the JSON as it is")
    sent = http.headers.get(hdrs.CONTENT_TYPE, "")
    if sent == JSON:
        return
    media, _, parameter = sent.partition(";")
    charset = parameter.strip().lower()
    if media.strip().lower() != JSON or charset not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Refusal(
            415, f"send Content-Type: {JSON}, in UTF-8, not {sent[:100] or 'none'}", headers={hdrs.ACCEPT: JSON}
        )


def error_response(http: web.BaseRequest, problem: Problem) -> web.Response:
    """A failed call in REST."""
    response = web.Response(status=problem.fault.status, body=encode(problem.as_json()), headers=headers_of(http, JSON))
    if problem.retry_after_ms is not None:
        response.headers[hdrs.RETRY_AFTER] = str(-(-problem.retry_after_ms // 1_000))
    if problem.fault.status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response

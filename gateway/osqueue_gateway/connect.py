"""The Connect protocol: the same RPCs for @connectrpc clients, unary and server streaming, in both codecs.

Messages follow protobuf's own JSON rules here (int64 as strings, bytes in base64), unlike REST. Unknown fields are
refused all the same: what a caller asked for is never dropped in silence.
"""

import asyncio
import re
import struct
from typing import Any, cast

from aiohttp import hdrs, web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from osqueue.api.json_text import encode
from osqueue.errors import (
    DEADLINE_EXCEEDED,
    INVALID_REQUEST,
    BrokerProtocolError,
    OsqueueError,
    TransportConnectionError,
)
from osqueue_gateway import wire
from osqueue_gateway.bodies import Budget, apart, read_body
from osqueue_gateway.calls import Calls, FeedEnded
from osqueue_gateway.errors import CONNECT_STATUS, Problem, Refusal, problem_of
from osqueue_gateway.limits import Limits
from osqueue_gateway.server import Connection
from osqueue_gateway.trace_context import carry
from osqueue_gateway.wire import JSON, headers_of
from osqueue_protocol.rpcs import Rpc

UNARY = {JSON: "json", "application/proto": "proto"}
STREAMING = {"application/connect+json": "json", "application/connect+proto": "proto"}

HTTP_STATUSES = (405, 408, 415)
"""Refusals that Connect leaves to HTTP; every other error has the status of its code."""

JSON_VALUES_MAX = 100_000
"""Commas and opening braces of a request in JSON, strings included: about as many values as it can hold. A batch of a
thousand jobs with all their fields has a tenth of them."""

COMPRESSED = 0b01
END = 0b10
_ENVELOPE = struct.Struct(">BI")
_TIMEOUT = re.compile(r"[0-9]{1,10}")


class Connect:
    """Answers Connect's calls."""

    def __init__(self, calls: Calls, limits: Limits, budget: Budget) -> None:
        self._calls = calls
        self._limits = limits
        self._budget = budget

    async def answer(self, http: web.BaseRequest, rpc: Rpc) -> web.StreamResponse:
        """The response of one call; raises what went wrong before it began."""
        if http.method != hdrs.METH_POST:
            raise Refusal(405, "Connect calls are POSTs", headers={hdrs.ALLOW: hdrs.METH_POST})
        media = _media(http, STREAMING if rpc.server_streaming or rpc.client_streaming else UNARY)
        _require_protocol(http)
        if rpc.client_streaming:
            raise _unimplemented(f"{rpc.name} streams both ways, which only gRPC can; connect to the broker itself")
        timeout_ms = _timeout_ms(http)
        body = await read_body(http, self._limits, self._budget)
        try:
            if rpc.server_streaming:
                return await self._stream(http, rpc, body, media, timeout_ms)
            return await self._unary(http, rpc, body, media, timeout_ms)
        finally:
            self._budget.give(len(body))

    async def _unary(
        self, http: web.BaseRequest, rpc: Rpc, body: bytes, media: str, timeout_ms: int | None
    ) -> web.StreamResponse:
        codec = UNARY[media]
        request = await apart(len(body), lambda: _decode(body, rpc, codec))
        carry(http.headers, request)
        self._calls.require_size(request, len(body))
        response = await self._within(rpc, request, timeout_ms)
        peer = cast(Connection, http.protocol)
        return await self._calls.deliver(
            peer, rpc, request, lambda: wire.answer(http, _encode(response, codec), self._budget, media)
        )

    async def _within(self, rpc: Rpc, request: Message, timeout_ms: int | None) -> Any:
        if timeout_ms is None:
            return await self._calls.call(rpc, request)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await self._calls.call(rpc, request, timeout_ms)
        except TimeoutError:
            raise _too_late(rpc, timeout_ms) from None
        except TransportConnectionError as error:
            if error.reason != DEADLINE_EXCEEDED:
                raise
            raise _too_late(rpc, timeout_ms) from None

    async def _stream(
        self, http: web.BaseRequest, rpc: Rpc, body: bytes, media: str, timeout_ms: int | None
    ) -> web.StreamResponse:
        codec = STREAMING[media]
        answer = web.StreamResponse(headers=headers_of(http, media))
        await answer.prepare(http)
        end: dict[str, Any] = {}
        try:
            request = await apart(len(body), lambda: _decode(_unwrapped(body), rpc, codec))
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1_000):
                await self._forward(answer, rpc, request, codec)
        except TimeoutError:
            end = {"error": problem_of(_too_late(rpc, timeout_ms or 0)).as_connect()}
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: the caller is told at the stream's end
            end = {"error": problem_of(error).as_connect()}
        await answer.write(_enveloped(END, encode(end)))
        await answer.write_eof()
        return answer

    async def _forward(self, answer: web.StreamResponse, rpc: Rpc, request: Message, codec: str) -> None:
        async with self._calls.feed(rpc, request) as feed:
            while True:
                try:
                    message = await feed.next()
                except FeedEnded:
                    return
                await answer.write(_enveloped(0, _encode(message, codec)))


def connect_error(http: web.BaseRequest, problem: Problem) -> web.Response:
    """A failed unary call, or one that failed before it was understood."""
    status = problem.fault.status
    if status not in HTTP_STATUSES:
        status = CONNECT_STATUS[problem.fault.code]
    return web.Response(status=status, body=encode(problem.as_connect()), headers=headers_of(http, JSON))


def _media(http: web.BaseRequest, known: dict[str, str]) -> str:
    media, _, parameter = http.headers.get(hdrs.CONTENT_TYPE, "").partition(";")
    media = media.strip().lower()
    if media not in known or parameter.strip().lower() not in ("", "charset=utf-8"):
        raise Refusal(415, f"send Content-Type: {' or '.join(known)}", headers={"Accept-Post": ", ".join(known)})
    return media


def _require_protocol(http: web.BaseRequest) -> None:
    version = http.headers.get("Connect-Protocol-Version", "1")
    if version != "1":
        raise BrokerProtocolError(f"Connect-Protocol-Version must be 1, not {version[:20]}", reason=INVALID_REQUEST)
    for header in (hdrs.CONTENT_ENCODING, "Connect-Content-Encoding"):
        encoding = http.headers.get(header, "identity")
        if encoding.lower() != "identity":
            raise _unimplemented(f"{header}: {encoding[:20]} is not supported, only identity")


def _timeout_ms(http: web.BaseRequest) -> int | None:
    text = http.headers.get("Connect-Timeout-Ms")
    if text is None:
        return None
    if _TIMEOUT.fullmatch(text) is None:
        raise BrokerProtocolError("Connect-Timeout-Ms must be up to 10 digits", reason=INVALID_REQUEST)
    return int(text)


def _decode(body: bytes, rpc: Rpc, codec: str) -> Message:
    try:
        if codec == "proto":
            return rpc.request.FromString(body)
        _require_few_values(body)
        return json_format.Parse(body, rpc.request())
    except (DecodeError, json_format.Error, UnicodeDecodeError, RecursionError, ValueError) as error:
        message = f"no {rpc.request.DESCRIPTOR.full_name} in {codec}: {str(error)[:500]}"
        raise BrokerProtocolError(message, reason=INVALID_REQUEST) from None


def _require_few_values(body: bytes) -> None:
    """Count before building: a value takes protobuf's JSON reader microseconds, and a body has room for millions."""
    values = body.count(b",") + body.count(b"{")
    if values > JSON_VALUES_MAX:
        raise ValueError(f"some {values:,} values; at most {JSON_VALUES_MAX:,} are read. Split the batch, or use proto")


def _encode(message: Message, codec: str) -> bytes:
    if codec == "proto":
        return message.SerializeToString()
    return json_format.MessageToJson(message, indent=None).encode()


def _enveloped(flags: int, body: bytes) -> bytes:
    return _ENVELOPE.pack(flags, len(body)) + body


def _unwrapped(body: bytes) -> bytes:
    """The one message of a server-streaming request."""
    if len(body) >= _ENVELOPE.size:
        flags, size = _ENVELOPE.unpack_from(body)
        if flags & COMPRESSED:
            raise _unimplemented("compressed messages are not supported")
        if size == len(body) - _ENVELOPE.size:
            return body[_ENVELOPE.size :]
    raise BrokerProtocolError("the body must be one enveloped message", reason=INVALID_REQUEST)


def _unimplemented(message: str) -> BrokerProtocolError:
    return BrokerProtocolError(message, reason="UNIMPLEMENTED")


def _too_late(rpc: Rpc, timeout_ms: int) -> OsqueueError:
    outcome = "; it may or may not have happened" if rpc.mutates else ""
    return OsqueueError(f"{rpc.name} was not answered within {timeout_ms} ms{outcome}", reason=DEADLINE_EXCEEDED)

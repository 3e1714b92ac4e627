"""Answers as they leave: their common headers, and a short way for the many small ones."""

from typing import cast

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.helpers import rfc822_formatted_time

from osqueue_gateway.bodies import SMALL_BYTES, Budget
from osqueue_gateway.protection import cors_of

JSON = "application/json"
SERVER = "osqueue"
NO_SNIFFING = "X-Content-Type-Options"


def headers_of(http: web.BaseRequest, media: str) -> dict[str, str]:
    """What every answer with a body says."""
    return {hdrs.CONTENT_TYPE: media, NO_SNIFFING: "nosniff", hdrs.SERVER: SERVER, **cors_of(http)}


async def answer(http: web.BaseRequest, body: bytes, budget: Budget, media: str = JSON) -> web.StreamResponse:
    """A successful answer. A large one is written here and now, so that it counts until it is on its way."""
    if len(body) <= SMALL_BYTES:
        if media is JSON and SmallAnswer.fits(http):
            return cast(web.StreamResponse, SmallAnswer(body))
        return web.Response(body=body, headers=headers_of(http, media))
    budget.take(len(body))
    try:
        response = web.Response(body=body, headers=headers_of(http, media))
        await response.prepare(http)
        await response.write_eof()
    finally:
        budget.give(len(body))
    return response


class SmallAnswer:
    """200 with a little JSON, in one write: aiohttp's own responses cost a sixth of a submit (benchmarks/gateway.py).

    It is what aiohttp's protocol needs of a response, for the plain case: HTTP/1.1, kept alive, to no foreign page.
    """

    __slots__ = ("_body", "_http", "keep_alive")

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._http: web.BaseRequest | None = None
        self.keep_alive = True

    @staticmethod
    def fits(http: web.BaseRequest) -> bool:
        """Whether the request can be answered this way."""
        return http.version == HttpVersion11 and http.keep_alive and http.method != hdrs.METH_HEAD and not cors_of(http)

    def force_close(self) -> None:
        """Close the connection after this answer."""
        self.keep_alive = False

    async def prepare(self, http: web.BaseRequest) -> None:
        """Nothing is sent before the end."""
        self._http = http

    async def write_eof(self) -> None:
        """Send it."""
        assert self._http is not None, "aiohttp prepares an answer before it ends it"
        transport = self._http.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
            b"Server: osqueue\r\nDate: %b\r\nContent-Length: %d\r\n%b\r\n%b"
            % (
                rfc822_formatted_time().encode(),
                len(self._body),
                b"" if self.keep_alive else b"Connection: close\r\n",
                self._body,
            )
        )
        if self._http.protocol.writing_paused:
            await self._http.writer.drain()

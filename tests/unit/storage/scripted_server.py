"""An HTTP server on the loopback interface that answers as a test tells it to, or not at all."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web


class Seen(NamedTuple):
    """One request that arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to send back. `claimed_length` above the body's own makes a body that ends too early, or `stalls` there;
    `reset` closes the connection instead of answering, `silent` never answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    claimed_length: int | None = None
    reset: bool = False
    silent: bool = False
    stalls: bool = False


class ScriptedServer:
    """Gives its answers in order, the last one again and again, and keeps what it was asked."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.seen: list[Seen] = []
        self._closing = asyncio.Event()
        self.answers: deque[Answer | Callable[[Seen], Answer]] = deque()

    def answer(self, *answers: Answer | Callable[[Seen], Answer]) -> None:
        self.answers = deque(answers)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.path, dict(request.query), dict(request.headers), await request.read())
        self.seen.append(seen)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if not isinstance(answer, Answer):
            answer = answer(seen)
        if answer.silent:
            await self._closing.wait()
        if answer.reset or answer.silent:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer.claimed_length is None:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        headers = {**answer.headers, "Content-Length": str(answer.claimed_length)}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        await response.write(answer.body)
        if answer.stalls:
            await self._closing.wait()
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{path:.*}", server._handle)
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        server._closing.set()
        await runner.cleanup()

"""Calls between processes: a request, a handler's task on the other side, an answer.

Each leg takes time. A link that is down loses what is sent over it. When the server's
process dies its callers are reset, mostly; when the caller gives up, the server is told,
a little later.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation.loop import Node
from tests.simulation.streams import Stream


class ConnectionLost(Exception):
    """The call ended without an answer: it may have been executed, or not."""


class Network:
    """All links of the world."""

    def __init__(self, draw: random.Random, latency_ms: tuple[float, float]) -> None:
        self._draw = draw
        self._latency_ms = latency_ms
        self._down: set[tuple[str, str]] = set()
        self._calls: dict[Node, dict[int, _Call]] = {}
        self._count = 0
        self._streams: list[Stream] = []

    def cut(self, one: str, other: str) -> None:
        self._down.add((one, other))

    def mend(self) -> None:
        self._down.clear()

    def is_down(self, one: str, other: str) -> bool:
        return (one, other) in self._down or (other, one) in self._down

    def leg_ms(self) -> float:
        low, high = self._latency_ms
        return low + (high - low) * self._draw.random() ** 3

    async def call(self, client: Node, server: Node, handler: Callable[[], Awaitable[Any]], timeout_ms: float) -> Any:
        """What the handler answers when run on the server; `ConnectionLost` otherwise."""
        call = _Call(self, client, server, handler)
        self._count += 1
        number = self._count
        calls = self._calls.setdefault(server, {})
        calls[number] = call
        loop = client.loop
        if not self.is_down(client.name, server.name):
            loop.world.call_at_ms(loop.now_ms + self.leg_ms(), call.arrive)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await call.answer
        except TimeoutError:
            raise ConnectionLost("no answer in time") from None
        finally:
            del calls[number]
            if not call.answered:
                call.give_up()

    def open_stream(self, client: Node, server: Node, serve: Callable[[Stream], Awaitable[None]]) -> Stream:
        """A stream from the client to the server, which serves it."""
        stream = Stream(
            client, server, self._draw,
            is_down=lambda: self.is_down(client.name, server.name), leg_ms=self.leg_ms, serve=serve,
        )  # fmt: skip
        self._streams = [one for one in self._streams if not one.over]
        self._streams.append(stream)
        return stream

    def died(self, node: Node) -> None:
        """A process is dead: whoever has a stream to it is told, mostly."""
        for stream in self._streams:
            if node in stream.ends:
                stream.peer_died(node)

    def reset(self, server: Node) -> None:
        """The server's process is dead: whoever waits for it is told, mostly."""
        self.died(server)
        for call in list(self._calls.get(server, {}).values()):
            if self._draw.random() < 0.8:
                call.deliver(ConnectionLost("connection reset"))


class _Call:
    def __init__(self, network: Network, client: Node, server: Node, handler: Callable[[], Awaitable[Any]]) -> None:
        self.answer: asyncio.Future[Any] = client.loop.create_future()
        self.answered = False
        self._given_up = False
        self._network = network
        self._client = client
        self._server = server
        self._handler = handler
        self._task: asyncio.Task[None] | None = None

    def arrive(self) -> None:
        """What was sent is executed, even if the caller has given up meanwhile: it will be told that later."""
        if not self._server.alive:
            self.deliver(ConnectionLost("connection refused"))
            return
        self._task = self._server.spawn(self._serve(), name="call")
        if self._given_up:
            self._cancel_soon()

    async def _serve(self) -> None:
        value: Any
        try:
            value = await self._handler()
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - the handler's errors are the caller's answer
            value = error
        self.deliver(value)

    def deliver(self, value: Any) -> None:
        """Send the answer back."""
        if not self._network.is_down(self._client.name, self._server.name):
            client = self._client
            client.call_at_ms(client.loop.now_ms + self._network.leg_ms(), self._receive, value)

    def _receive(self, value: Any) -> None:
        if self.answer.done():
            return
        self.answered = True
        if isinstance(value, Exception):
            self.answer.set_exception(value)
        else:
            self.answer.set_result(value)

    def give_up(self) -> None:
        """The caller waits no longer; the server's handler is cancelled when it hears of it."""
        self._given_up = True
        self.answer.cancel()
        if self._task is not None:
            self._cancel_soon()

    def _cancel_soon(self) -> None:
        if self._task is not None and not self._network.is_down(self._client.name, self._server.name):
            self._server.call_at_ms(self._server.loop.now_ms + self._network.leg_ms(), self._task.cancel)

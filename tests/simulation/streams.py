"""Streams between processes: frames in order both ways, over links that delay, hold up, and break.

A stream behaves as one over TCP does. What is sent over a link that is down arrives when
the link works again, unless either end has given the other up by then. A peer that is dead or
frozen is noticed at once, mostly, or by keepalive. A writer waits for a reader that is slow.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tests.simulation.loop import Node

KEEPALIVE_MS = 1_000.0
"""How often each end looks whether the other still answers."""
MISSED_MAX = 3
"""So many looks in vain, and the stream is given up."""
WINDOW = 8
"""Frames that may be on their way one way, before the writer has to wait."""
HELD_UP_MS = 100.0
"""How often a frame is sent again while the link is down."""


class StreamBroken(Exception):
    """The stream ended without a word: what was sent last may have arrived, or not."""


class _End:
    """The last item of a direction: the sender says no more. `error`: why, if something was wrong."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Way:
    """One direction. Items arrive in the order in which they were sent."""

    def __init__(self, stream: "Stream", sender: Node, receiver: Node) -> None:
        self._stream = stream
        self._sender = sender
        self._receiver = receiver
        self._under_way: deque[Any] = deque()
        self._inbox: deque[Any] = deque()
        self._arrives_ms = 0.0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._ended = False

    async def write(self, item: Any) -> None:
        """Send the item, once there is room for it."""
        while len(self._under_way) + len(self._inbox) >= WINDOW and not self._stream.over:
            self._writer = self._sender.loop.create_future()
            await self._writer
        self.send(item)

    def send(self, item: Any) -> None:
        """Send the item now."""
        if self._stream.over:
            return
        self._under_way.append(item)
        loop = self._sender.loop
        self._arrives_ms = max(loop.now_ms + self._stream.leg_ms(), self._arrives_ms)
        self._receiver.call_at_ms(self._arrives_ms, self._arrive)

    def _arrive(self) -> None:
        if self._stream.link_is_down:
            self._receiver.call_at_ms(self._receiver.loop.now_ms + HELD_UP_MS, self._arrive)
        elif self._under_way:
            self._put(self._under_way.popleft())

    def _put(self, item: Any) -> None:
        self._inbox.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def break_off(self) -> None:
        """The receiver finds out that nothing will come any more."""
        if not self._ended:
            self._put(_End(StreamBroken("the stream broke")))
        self.wake_writer()

    def wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    async def items(self) -> AsyncIterator[Any]:
        """What arrives, until the sender says no more; what it says was wrong is raised."""
        while True:
            while not self._inbox:
                self._reader = self._receiver.loop.create_future()
                await self._reader
            item = self._inbox.popleft()
            self.wake_writer()
            if isinstance(item, _End):
                self._ended = True
                if item.error is not None:
                    raise item.error
                return
            yield item


class Stream:
    """One stream. `serve` runs on the server with the stream; what it raises ends the stream for the client."""

    def __init__(
        self,
        client: Node,
        server: Node,
        draw: random.Random,
        *,
        is_down: Callable[[], bool],
        leg_ms: Callable[[], float],
        serve: Callable[["Stream"], Awaitable[None]],
    ) -> None:
        self.ends = (client, server)
        self.over = False
        self.leg_ms = leg_ms
        self._client = client
        self._server = server
        self._draw = draw
        self._is_down = is_down
        self._serve = serve
        self._task: asyncio.Task[None] | None = None
        self._up = _Way(self, client, server)
        self._down = _Way(self, server, client)
        self._missed = {client: 0, server: 0}
        loop = client.loop
        if not self.link_is_down:
            loop.world.call_at_ms(loop.now_ms + leg_ms(), self._connected)
        loop.world.call_at_ms(loop.now_ms + KEEPALIVE_MS, self._look)

    @property
    def link_is_down(self) -> bool:
        return self._is_down()

    # --- the client's end --------------------------------------------------------------------------------------------

    def send(self, frame: Any) -> None:
        self._up.send(frame)

    def hang_up(self) -> None:
        """Send no more; the server answers what it has, and ends the stream."""
        self._up.send(_End(None))

    def answers(self) -> AsyncIterator[Any]:
        """What the server sends; raises what ended the stream, if it was not its orderly end."""
        return self._down.items()

    def give_up(self) -> None:
        """The client is done with the stream; the server hears of it if it can."""
        if not self.over:
            self._close()
            if not self.link_is_down:
                self._server.call_at_ms(self._server.loop.now_ms + self.leg_ms(), self._cancel)
            else:
                self._server.call_at_ms(self._server.loop.now_ms + KEEPALIVE_MS * MISSED_MAX, self._cancel)

    # --- the server's end --------------------------------------------------------------------------------------------

    def frames(self) -> AsyncIterator[Any]:
        return self._up.items()

    async def write(self, answer: Any) -> None:
        """Send the answer, once the client has read enough of those before."""
        await self._down.write(answer)

    def _connected(self) -> None:
        if not self._server.alive:
            self._client.call_at_ms(self._client.loop.now_ms + self.leg_ms(), self._broken)
            return
        self._task = self._server.spawn(self._run(), name="stream")
        if self.over:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._serve(self)
        except asyncio.CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - what ends a stream is the client's to hear
            self._down.send(_End(error))
        else:
            self._down.send(_End(None))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- trouble -----------------------------------------------------------------------------------------------------

    def peer_died(self, node: Node) -> None:
        """The process at one end is dead. The other is told, mostly; or it finds out."""
        if self.over or self.link_is_down or self._draw.random() < 0.2:
            return
        other, told = (self._client, self._broken) if node is self._server else (self._server, self._cancel)
        other.call_at_ms(other.loop.now_ms + self.leg_ms(), told)

    def _look(self) -> None:
        """Keepalive, at both ends."""
        if self.over:
            return
        for end, peer, give_up in (
            (self._client, self._server, self._broken),
            (self._server, self._client, self._cancel),
        ):
            silent = self.link_is_down or not peer.alive or peer.stopped
            self._missed[end] = self._missed[end] + 1 if silent else 0
            if self._missed[end] == MISSED_MAX:
                end.call_at_ms(end.loop.now_ms, give_up)
            if self._missed[end] >= MISSED_MAX and not peer.alive:
                return  # who is left has been told
        loop = self._client.loop
        loop.world.call_at_ms(loop.now_ms + KEEPALIVE_MS, self._look)

    def _broken(self) -> None:
        if not self.over:
            self._down.break_off()

    def _close(self) -> None:
        self.over = True
        self._up.wake_writer()
        self._down.wake_writer()

"""A way to a broker that can be frozen, as the broker's process can: connections stay, and nothing comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"


class FreezingRelay:
    """`freeze` and `thaw` it."""

    def __init__(self, onward: str) -> None:
        self._onward = onward
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._onward.split(":")
        onward, back = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, back), (onward, writer)):
            self._tasks.add(asyncio.ensure_future(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._flows.wait()
                sink.write(data)
        sink.close()


@asynccontextmanager
async def freezing_relay(onward: str) -> AsyncIterator[FreezingRelay]:
    """A relay to `onward`, host:port, at an address of its own."""
    relay = FreezingRelay(onward)
    server = await asyncio.start_server(relay._serve, HOST, 0)
    relay.address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        for task in relay._tasks:
            task.cancel()
        await asyncio.gather(*relay._tasks, return_exceptions=True)

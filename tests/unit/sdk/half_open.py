"""A way to a server that forgets its connections, as a firewall does: nothing gets through, and nothing says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HOST = "127.0.0.1"


class Way:
    """`forget` makes every connection so far a dead one; new ones work. `opened` counts them."""

    def __init__(self, address: str) -> None:
        self.address = ""
        self.opened = 0
        self._to = address
        self._dead_up_to = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        self._dead_up_to = self.opened

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        number = self.opened
        host, port = self._to.split(":")
        onward, back = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, back), (onward, writer)):
            self._tasks.add(asyncio.ensure_future(self._pass_on(number, source, sink)))

    async def _pass_on(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                if number > self._dead_up_to:
                    sink.write(data)
        if number > self._dead_up_to:
            sink.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def half_open(address: str) -> AsyncIterator[Way]:
    """A `Way` to host:port `address`."""
    way = Way(address)
    server = await asyncio.start_server(way.serve, HOST, 0)
    way.address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        await way.close()

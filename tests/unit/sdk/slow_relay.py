"""A long way to a broker: every byte arrives later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HOST = "127.0.0.1"


@asynccontextmanager
async def slow_relay(address: str, delay_s: float) -> AsyncIterator[tuple[str, list[int]]]:
    """host:port that leads to `address`, and a list that grows with every connection."""
    host, port = address.split(":")
    connections: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        onward, back = await asyncio.open_connection(host, int(port))
        for source, sink in ((reader, back), (onward, writer)):
            task = asyncio.ensure_future(_pass_on(source, sink, delay_s))
            tasks.add(task)

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await source.read(65_536):
            loop.call_later(delay_s, sink.write, data)
    finally:
        loop.call_later(delay_s, sink.close)

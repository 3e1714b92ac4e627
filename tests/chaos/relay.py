"""The network between clients and one broker: bytes both ways, until it is told to lose them."""

import asyncio
from contextlib import suppress

from tests.servers import LOOPBACK

CHUNK_BYTES = 64 * 1024


class Relay:
    """Listens on a port of its own; what connects there is connected to the broker at `port_behind`."""

    def __init__(self, port_behind: int) -> None:
        self.port = 0
        self.cuts = 0
        self._behind = port_behind
        self._server: asyncio.Server
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._speaking = asyncio.Event()
        self._speaking.set()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def mute(self) -> None:
        """Questions still arrive, answers no longer do."""
        self._speaking.clear()

    def cut(self) -> None:
        """Break every connection; what was said meanwhile is lost. New ones are as good as ever."""
        self.cuts += 1
        for writers in self._connections.values():
            for writer in writers:
                writer.transport.abort()
        self._speaking.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (writer,)
        try:
            answers, behind = await asyncio.open_connection(LOOPBACK, self._behind)
            self._connections[task] = (writer, behind)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, behind, None))
                both.create_task(self._pass_on(answers, writer, self._speaking))
        except (ConnectionError, ExceptionGroup, asyncio.CancelledError):
            # One side hung up, the broker does not listen, or the test is over: this connection is done with.
            pass
        finally:
            for each in self._connections.pop(task):
                with suppress(OSError):
                    each.close()

    @staticmethod
    async def _pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, speaking: asyncio.Event | None
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if speaking is not None:
                await speaking.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one side is done, so the other is too")

"""Streams that would outlive a server leave when it stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from osqueue_service.errors import NotLeader


class Shutdown:
    """The moment at which streams that are still open must end."""

    def __init__(self) -> None:
        self._leaving = asyncio.Event()

    def announce(self) -> None:
        """Every stream ends now."""
        self._leaving.set()

    async def until(self, stream: Coroutine[Any, Any, None]) -> None:
        """Run the stream to its end. If the shutdown comes first, end it and raise `NotLeader`."""
        loop = asyncio.get_running_loop()
        running, leaving = loop.create_task(stream), loop.create_task(self._leaving.wait())
        try:
            await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
            if not running.cancelled():
                running.exception()  # seen, for when this call was itself cancelled: the caller of a write is gone
        if running.cancelled():
            raise NotLeader("this broker is shutting down; ask the new leader")
        try:
            running.result()
        finally:
            del running  # it keeps what it raises, and that this frame

"""Numbered objects read in parallel and handed out in order."""

import asyncio
from collections import deque
from collections.abc import Callable

from osqueue_service.log.settle import Settler
from osqueue_service.storage.store import StoredObject


class ReadAhead:
    """Reads the objects of `first`, `first + 1`, … up to `window` at a time.

    The window doubles up to `window_max` as objects are taken, so that a short run costs
    few requests beyond its end and a long one is read at full width. It bounds the
    memory: at most `window_max` objects wait to be taken. `end` is the first number that
    need not be read, where that is known.
    """

    def __init__(
        self,
        settler: Settler,
        key_of: Callable[[int], str],
        *,
        first: int,
        window: int,
        window_max: int,
        end: int | None = None,
    ) -> None:
        self._settler = settler
        self._key_of = key_of
        self._next = first
        self._window = window
        self._window_max = window_max
        self._end = end
        self._reads: deque[asyncio.Task[StoredObject | None]] = deque()

    async def take(self) -> bytes | None:
        """The next object's body, or None when there certainly is none; after None, close."""
        self._fill()
        found = await self._reads[0]
        self._reads.popleft()
        self._window = min(self._window * 2, self._window_max)
        return None if found is None else found.body

    def close(self) -> None:
        """Give up the reads under way."""
        while self._reads:
            self._reads.popleft().cancel()

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._reads) < self._window and (self._end is None or self._next < self._end):
            read = loop.create_task(self._settler.read(self._key_of(self._next)))
            read.add_done_callback(_mark_retrieved)
            self._reads.append(read)
            self._next += 1


def _mark_retrieved(read: asyncio.Task[StoredObject | None]) -> None:
    """A read given up may fail unseen; one that is taken raises its error there."""
    if not read.cancelled():
        read.exception()

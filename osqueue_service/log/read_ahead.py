"""Numbered objects read in parallel and handed out in order."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from osqueue_service.log.settle import Settler
from osqueue_service.storage.store import StoredObject


@dataclass(frozen=True, slots=True)
class Window:
    """How many objects are read at once: `first`, and `growth` times as many with each that is taken, up to `most`.

    Growing, a short run costs few requests beyond its end, and a long one is read at full width.
    """

    first: int
    most: int
    growth: float = 2


class ReadAhead:
    """Reads the objects of `first`, `first + 1`, … as far ahead as the window says.

    The window bounds the memory: no more than its `most` wait to be taken. `end` is the
    first number that need not be read, where that is known.
    """

    def __init__(
        self, settler: Settler, key_of: Callable[[int], str], *, first: int, window: Window, end: int | None = None
    ) -> None:
        self._settler = settler
        self._key_of = key_of
        self._next = first
        self._window = window
        self._width: float = window.first
        self._end = end
        self._reads: deque[asyncio.Task[StoredObject | None]] = deque()

    async def take(self) -> bytes | None:
        """The next object's body, or None when there certainly is none; after None, close."""
        self._fill()
        found = await self._reads[0]
        self._reads.popleft()
        self._width = min(self._width * self._window.growth, self._window.most)
        return None if found is None else found.body

    def close(self) -> None:
        """Give up the reads under way."""
        while self._reads:
            self._reads.popleft().cancel()

    def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._reads) < int(self._width) and (self._end is None or self._next < self._end):
            read = loop.create_task(self._settler.read(self._key_of(self._next)))
            read.add_done_callback(_mark_retrieved)
            self._reads.append(read)
            self._next += 1


def _mark_retrieved(read: asyncio.Task[StoredObject | None]) -> None:
    """A read given up may fail unseen; one that is taken raises its error there."""
    if not read.cancelled():
        read.exception()

"""Commands that wait to be committed: a bounded queue that refuses, and never drops."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from osqueue_service.errors import TooManyRequests
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Command


class Entry(Struct):
    """One command and its caller. `size`: the request's bytes. `wait_ms`: how long a claim that finds no job waits."""

    command: Command
    answer: "asyncio.Future[Any]"
    size: int = 0
    wait_ms: int = 0


class Inbox:
    """First in, first out."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Queue the command; TOO_MANY_REQUESTS when there is no room."""
        limits = self._limits
        if len(self._entries) >= limits.inbox_commands or self._bytes + entry.size > limits.inbox_bytes:
            raise TooManyRequests(
                f"{len(self._entries)} calls of {self._bytes} bytes wait to be committed, which is the limit "
                "(inbox_commands, inbox_bytes): storage is slower than the load. Try again later",
                retry_after_ms=1_000,
            )
        self.add_own(entry)

    def add_own(self, entry: Entry) -> None:
        """Queue a command of the broker itself, which is never refused."""
        self._entries.append(entry)
        self._bytes += entry.size

    def take(self, room: int) -> Iterator[Entry]:
        """The commands for one commit: until their sizes exceed `room` bytes. A caller that is gone by now has
        asked for nothing."""
        while self._entries and room > 0:
            entry = self._entries.popleft()
            self._bytes -= entry.size
            if not entry.answer.done():
                room -= entry.size
                yield entry

    def drain(self) -> Iterator[Entry]:
        """All that is left."""
        while self._entries:
            yield self._entries.popleft()
        self._bytes = 0

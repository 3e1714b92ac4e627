"""Commands that wait to be committed, and when they are: at once when idle, in company under load.

The queue is bounded; it refuses, and never drops.

While puts are under way, the next one starts when a fair share of a put's duration has
passed since the last: with a pipeline of depth d the starts of commits are spread evenly,
so that a change waits about 1/(2d) of a put for company, not for the put before it to
return. Callers answered by one commit call again together, so where there are several, a
put that may start waits while they keep coming, at most as long again. None of this makes a change
wait longer than the group commit interval. Only a spacing that was asked for, to save storage
requests, holds back a change that is alone.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.term import Lane
from osqueue_service.errors import TooManyRequests
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Command

SPACING_MIN_MS = 5
"""Among several callers, starts of commits are at least this far apart however fast the store is: a commit costs the
broker about a millisecond of work whatever is in it, so 200 a second is all that may go into them."""
LINGER_MS = 1.5
"""Changes that follow each other within this time are still coming in: four or five unary calls are read in it."""


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
        self.entries: deque[Entry] = deque()
        """The oldest first."""
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """Queue the command; TOO_MANY_REQUESTS when there is no room."""
        limits = self._limits
        if len(self.entries) >= limits.inbox_commands or self._bytes + entry.size > limits.inbox_bytes:
            raise TooManyRequests(
                f"{len(self.entries)} calls of {self._bytes} bytes wait to be committed, which is the limit "
                "(inbox_commands, inbox_bytes): storage is slower than the load. Try again later",
                retry_after_ms=1_000,
            )
        self.add_own(entry)

    def add_own(self, entry: Entry) -> None:
        """Queue a command of the broker itself, which is never refused."""
        self.entries.append(entry)
        self._bytes += entry.size

    def take(self, room: int) -> Iterator[Entry]:
        """The commands for one commit: until their sizes exceed `room` bytes. A caller that is gone by now has
        asked for nothing."""
        while self.entries and room > 0:
            entry = self.entries.popleft()
            self._bytes -= entry.size
            if not entry.answer.done():
                room -= entry.size
                yield entry

    def drain(self) -> Iterator[Entry]:
        """All that is left."""
        while self.entries:
            yield self.entries.popleft()
        self._bytes = 0


class Pacing:
    """Decides how long a change that is ready waits for company."""

    def __init__(self, lane: Lane, settings: EngineSettings) -> None:
        self._lane = lane
        self._interval_ms = settings.group_commit_interval_ms
        self._spacing_ms = settings.commit_spacing_ms
        self._last_put = float("-inf")
        self._first_arrival: float | None = None
        self._last_arrival = 0.0

    def arrived(self, monotonic: float) -> None:
        """A change has arrived."""
        self._last_arrival = monotonic
        if self._first_arrival is None:
            self._first_arrival = monotonic

    def put(self, monotonic: float) -> None:
        """A commit has been put; whatever waited went with it."""
        self._last_put = monotonic
        self._first_arrival = None

    def company_ms(self, callers: int, monotonic: float) -> float:
        """How long to wait before the next put, while the puts under way are to answer `callers` calls; 0 or less: put
        now."""
        at = self._company_at(callers) if self._lane.in_flight else float("-inf")
        return max(at, self._last_put + self._spacing_ms) - monotonic

    def _company_at(self, callers: int) -> float:
        """When the next put may start beside those under way."""
        spacing = self._lane.latency_ms / self._lane.depth
        several = callers > 1
        if several:
            spacing = max(spacing, SPACING_MIN_MS)
        at = self._last_put + spacing
        if self._first_arrival is not None:
            if several:
                at = max(at, min(self._last_arrival + LINGER_MS, self._first_arrival + spacing))
            at = min(at, self._first_arrival + self._interval_ms)
        return at

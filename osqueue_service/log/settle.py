"""Requests repeated until their outcome is known.

The store may answer that a put was made, that it was refused, or nothing at all. Only
the first is an outcome. This module turns the other two into one, and it is the only
place that repeats a request.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from osqueue_service.clock import Clock
from osqueue_service.errors import StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.ids import IdSource
from osqueue_service.log.counters import LogCounters
from osqueue_service.storage.store import ObjectStore, StoredObject

BACKOFF_FIRST_MS = 25
BACKOFF_MAX_MS = 2_000
RETRY_AFTER_MAX_MS = 60_000
"""A store that asks for a longer pause is asked again after this one: a bad header must not park the leader."""

T = TypeVar("T")


class Backoff:
    """Growing pauses with jitter, for requests that must be repeated however long the store is away."""

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        self._clock = clock
        self._ids = ids
        self._next_ms: float = BACKOFF_FIRST_MS

    async def pause(self, at_least_ms: int | None = None) -> None:
        wait_ms = self._next_ms * (0.5 + self._ids.jitter() / 2)
        self._next_ms = min(self._next_ms * 2, BACKOFF_MAX_MS)
        if at_least_ms is not None:
            wait_ms = max(wait_ms, min(at_least_ms, RETRY_AFTER_MAX_MS))
        await self._clock.sleep_ms(wait_ms)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a put came to. `other` is None when the slot holds exactly our bytes, else the bytes it holds."""

    other: bytes | None
    tries: int


class Settler:
    """One store, which is asked until it answers.

    `StoreDenied` and `StoreFailed` are answers too, and pass through.
    """

    def __init__(self, store: ObjectStore, clock: Clock, ids: IdSource, counters: LogCounters) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.counters = counters

    def backoff(self) -> Backoff:
        return Backoff(self.clock, self.ids)

    async def put(self, key: str, body: bytes) -> Settled:
        """Create the object, sending identical bytes until the slot is known to hold them, or others."""
        backoff = self.backoff()
        tries = 0
        while True:
            tries += 1
            try:
                await self.store.put_if_absent(key, body)
            except StoreUnavailable as refusal:
                self.counters.unavailable += 1
                await backoff.pause(refusal.retry_after_ms)
            except StoreUnknown:
                # It may have landed, or may yet: the same bytes again are harmless either way.
                self.counters.puts_unknown += 1
                await backoff.pause()
            except StoreRefused:
                # Alone this means nothing: the try that was refused may have met an earlier one of ours.
                self.counters.puts_refused += 1
                found = await self.read(key)
                if found is None:
                    self.counters.puts_settled_absent += 1
                    await backoff.pause()
                    continue
                self.counters.puts += 1
                if found.body == body:
                    self.counters.puts_settled_ours += 1
                    return Settled(None, tries)
                self.counters.puts_settled_other += 1
                return Settled(found.body, tries)
            else:
                self.counters.puts += 1
                return Settled(None, tries)

    async def read(self, key: str) -> StoredObject | None:
        """The object, or None only when the store says that there is none: an error is not absence."""
        return await self._until_answered(lambda: self.store.read(key))

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """A page of keys; what is not in it may exist all the same."""
        return await self._until_answered(lambda: self.store.list_after(prefix, after, limit))

    async def _until_answered(self, request: Callable[[], Awaitable[T]]) -> T:
        backoff = self.backoff()
        while True:
            try:
                return await request()
            except StoreUnavailable as refusal:
                self.counters.unavailable += 1
                await backoff.pause(refusal.retry_after_ms)
            except StoreUnknown:
                # Reads change nothing, so asking again is safe.
                self.counters.reads_repeated += 1
                await backoff.pause()

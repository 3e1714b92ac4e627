"""A store that counts what is asked of it.

Put it right around the store that sends the requests: below a throttle, so that latencies
are the store's own and only what was sent is counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from osqueue_service.clock import Clock
from osqueue_service.errors import StoreDenied, StoreError, StoreFailed, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage.keys import InvalidKey
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.steady import unknown_outcome
from osqueue_service.storage.store import ObjectStore, StoredObject
from osqueue_service.storage.usage import StoreUsage

T = TypeVar("T")


class InstrumentedStore:
    """An `ObjectStore` over another one, with its figures in `usage`."""

    def __init__(self, inner: ObjectStore, clock: Clock, usage: StoreUsage | None = None) -> None:
        self._inner = inner
        self._clock = clock
        self.usage = usage if usage is not None else StoreUsage(clock)

    @property
    def description(self) -> str:
        return self._inner.description

    async def read(self, key: str) -> StoredObject | None:
        found = await self._measured(Operation.READ, key, lambda: self._inner.read(key))
        if found is not None:
            self.usage.operations[Operation.READ].bytes += len(found.body)
        return found

    async def put_if_absent(self, key: str, body: bytes) -> str:
        self.usage.operations[Operation.PUT_IF_ABSENT].bytes += len(body)
        return await self._measured(Operation.PUT_IF_ABSENT, key, lambda: self._inner.put_if_absent(key, body))

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        self.usage.operations[Operation.PUT_IF_VERSION].bytes += len(body)
        return await self._measured(
            Operation.PUT_IF_VERSION, key, lambda: self._inner.put_if_version(key, body, version)
        )

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return await self._measured(Operation.LIST, prefix, lambda: self._inner.list_after(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._measured(Operation.DELETE, key, lambda: self._inner.delete(key))

    async def close(self) -> None:
        await self._inner.close()

    async def _measured(self, operation: Operation, key: str, send: Callable[[], Awaitable[T]]) -> T:
        usage = self.usage.operations[operation]
        usage.requests += 1
        usage.in_flight += 1
        started_ms = self._clock.monotonic_ms()
        try:
            return await self._translated(operation, key, send)
        except StoreRefused:
            usage.refused += 1
            raise
        except StoreUnknown:
            usage.unknown += 1
            raise
        except StoreUnavailable:
            usage.unavailable += 1
            raise
        except StoreDenied:
            usage.denied += 1
            raise
        except StoreFailed:
            usage.failed += 1
            raise
        except asyncio.CancelledError:
            usage.cancelled += 1
            raise
        finally:
            now_ms = self._clock.monotonic_ms()
            usage.answered(now_ms, now_ms - started_ms)

    @staticmethod
    async def _translated(operation: Operation, key: str, send: Callable[[], Awaitable[T]]) -> T:
        try:
            return await send()
        except (StoreError, InvalidKey):
            raise
        except Exception as surprise:
            raise unknown_outcome(operation, key, surprise) from surprise

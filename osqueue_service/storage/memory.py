"""Objects in this process's memory: for tests, demonstrations and simulations.

Nothing survives the process. Several stores may share one `MemoryBucket`, as several
brokers share one bucket.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from osqueue_service.clock import Clock, SystemClock
from osqueue_service.errors import BrokerLeadershipError, StoreRefused
from osqueue_service.storage.keys import check_key, check_prefix
from osqueue_service.storage.store import ExclusiveStore, StoredObject


class MemoryBucket:
    """The objects themselves, and the order of their keys.

    `overwrite` and `remove` are for tests that damage a bucket behind everybody's back.
    """

    def __init__(self) -> None:
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] = []
        self._writes = 0
        self.owner: str | None = None
        """Where the broker is that owns it; None when there is none."""

    def get(self, key: str) -> StoredObject | None:
        return self._objects.get(key)

    def keys_after(self, prefix: str, after: str, limit: int) -> list[str]:
        start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
        found: list[str] = []
        for key in self._keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            found.append(key)
        return found

    def overwrite(self, key: str, body: bytes) -> str:
        """Write without any condition; the new version."""
        if key not in self._objects:
            insort(self._keys, key)
        self._writes += 1
        version = str(self._writes)
        self._objects[key] = StoredObject(bytes(body), version)
        return version

    def remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]


class MemoryStore(ExclusiveStore):
    """An `ObjectStore` over a `MemoryBucket`.

    `put_ms` and `read_ms` are waited before each write (deletes included) and each read
    (listings included) takes effect, so a call that is cancelled while it waits has done nothing.
    Without a latency a call still lets others run first, as a call over a network would.
    """

    def __init__(
        self,
        bucket: MemoryBucket | None = None,
        *,
        clock: Clock | None = None,
        put_ms: float = 0,
        read_ms: float = 0,
    ) -> None:
        self.bucket = bucket if bucket is not None else MemoryBucket()
        self._clock = clock if clock is not None else SystemClock()
        self.put_ms = put_ms
        self.read_ms = read_ms
        self._owns = False

    @property
    def description(self) -> str:
        return "memory"

    def own(self, address: str) -> None:
        if self.bucket.owner is not None:
            raise BrokerLeadershipError(
                f"this store in memory is in use by the broker at {self.bucket.owner}: stop that broker, or give each "
                "its own store",
                leader=self.bucket.owner,
            )
        self.bucket.owner = address
        self._owns = True

    def disown(self) -> None:
        if self._owns:
            self.bucket.owner = None
            self._owns = False

    async def read(self, key: str) -> StoredObject | None:
        check_key(key)
        await self._clock.sleep_ms(self.read_ms)
        return self.bucket.get(key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        check_key(key)
        await self._clock.sleep_ms(self.put_ms)
        if self.bucket.get(key) is not None:
            raise StoreRefused(f"{key}: exists already")
        return self.bucket.overwrite(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        check_key(key)
        await self._clock.sleep_ms(self.put_ms)
        current = self.bucket.get(key)
        if current is None:
            raise StoreRefused(f"{key}: does not exist")
        if current.version != version:
            raise StoreRefused(f"{key}: has version {current.version}, not {version}")
        return self.bucket.overwrite(key, body)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        check_prefix(prefix)
        await self._clock.sleep_ms(self.read_ms)
        return self.bucket.keys_after(prefix, after, limit)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._clock.sleep_ms(self.put_ms)
        self.bucket.remove(key)

    async def close(self) -> None:
        """Only the ownership is there to release: the bucket may be shared."""
        self.disown()

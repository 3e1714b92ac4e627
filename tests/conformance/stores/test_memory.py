"""The memory store keeps the promises of an object store."""

from collections.abc import AsyncIterator

import pytest

from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.store import ObjectStore
from osqueue_service.testing.store_conformance import ObjectStoreConformance


class TestMemoryStore(ObjectStoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryStore]:
        store = MemoryStore()
        yield store
        await store.close()

    @pytest.fixture
    def peer(self, store: ObjectStore) -> ObjectStore:
        assert isinstance(store, MemoryStore)
        return MemoryStore(store.bucket)


class TestMemoryStoreWithLatency(ObjectStoreConformance):
    cas_increments = 25
    many_keys = 50

    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryStore]:
        store = MemoryStore(put_ms=1, read_ms=1)
        yield store
        await store.close()

"""A store keeps its promises behind every decorator."""

from collections.abc import AsyncIterator

import pytest

from osqueue_service.clock import SystemClock
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.store import ObjectStore
from osqueue_service.storage.throttled import Throttle, ThrottledStore, ThrottleLimits
from osqueue_service.testing.faulty import FaultyStore
from osqueue_service.testing.store_conformance import ObjectStoreConformance


class TestFaultyStoreWithoutFaults(ObjectStoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[FaultyStore]:
        store = FaultyStore(MemoryStore(), SystemClock())
        yield store
        await store.close()


class TestInstrumentedStore(ObjectStoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[InstrumentedStore]:
        store = InstrumentedStore(MemoryStore(), SystemClock())
        yield store
        await store.close()


class TestThrottledStore(ObjectStoreConformance):
    """With delayed and undelayed requests side by side, and limits that are reached."""

    cas_increments = 50

    @pytest.fixture
    async def store(self) -> AsyncIterator[ThrottledStore]:
        limits = ThrottleLimits(reads_per_minute=300_000, writes_per_minute=300_000, writes_per_day=100)
        store = ThrottledStore(MemoryStore(), Throttle(limits, SystemClock()))
        yield store
        await store.close()

    @pytest.fixture
    def peer(self, store: ObjectStore) -> ObjectStore:
        assert isinstance(store, ThrottledStore)
        return store.undelayed()

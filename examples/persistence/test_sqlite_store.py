"""The suite that every object store must pass, for ours. Two stores on one file stand for two brokers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_store import SqliteStore

from osqueue_service.testing.store_conformance import ObjectStoreConformance


class TestSqliteStore(ObjectStoreConformance):
    cas_increments = 40  # a sync of the disk each
    many_keys = 100

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        store = SqliteStore(tmp_path / "queue.sqlite")
        yield store
        asyncio.run(store.close())

    @pytest.fixture
    def peer(self, store: SqliteStore, tmp_path: Path) -> Iterator[SqliteStore]:
        peer = SqliteStore(tmp_path / "queue.sqlite")
        yield peer
        asyncio.run(peer.close())

"""The file store keeps the promises of an object store, between two stores on one directory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osqueue_service.storage.file import FileStore
from osqueue_service.testing.store_conformance import ObjectStoreConformance


class TestFileStore(ObjectStoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FileStore]:
        store = FileStore.open(tmp_path / "store", threads=8)
        yield store
        await store.close()

    @pytest.fixture
    async def peer(self, store: FileStore, tmp_path: Path) -> AsyncIterator[FileStore]:
        peer = FileStore.open(tmp_path / "store", threads=8)
        yield peer
        await peer.close()

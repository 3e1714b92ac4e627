"""The GCS store keeps the promises of an object store, over the network."""

from collections.abc import AsyncIterator, Callable

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from osqueue_service.clock import SystemClock
from osqueue_service.ids import SystemIds
from osqueue_service.storage.gcs import GcsStore
from osqueue_service.storage.selftest import prove_conditions
from osqueue_service.testing.store_conformance import ObjectStoreConformance
from tests.conformance.stores.conftest import BUCKET
from tests.servers import Server

OpenGcs = Callable[[], GcsStore]


@pytest.fixture(scope="module")
def server(fake_gcs_server: Server) -> Server:
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    options = {"api_endpoint": fake_gcs_server.endpoint}
    Client(project="osqueue", credentials=credentials, client_options=options).create_bucket(BUCKET)
    return fake_gcs_server


class TestGcsStore(ObjectStoreConformance):
    cas_rivals = 2

    @pytest.fixture
    def open_store(self, server: Server, prefix: str) -> OpenGcs:
        return lambda: GcsStore(BUCKET, prefix=prefix, endpoint_url=server.endpoint, depth=8)

    @pytest.fixture
    async def store(self, open_store: OpenGcs) -> AsyncIterator[GcsStore]:
        store = open_store()
        yield store
        await store.close()

    @pytest.fixture
    async def peer(self, open_store: OpenGcs) -> AsyncIterator[GcsStore]:
        peer = open_store()
        yield peer
        await peer.close()

    async def test_passes_the_self_test(self, store: GcsStore) -> None:
        await prove_conditions(store, SystemClock(), SystemIds())
        assert await store.list_after("", "", 10) == []

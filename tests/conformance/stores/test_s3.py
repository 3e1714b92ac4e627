"""The S3 store keeps the promises of an object store, over the network, on two servers that have nothing in common."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from osqueue_service.clock import SystemClock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import SystemIds
from osqueue_service.storage.s3 import S3Store
from osqueue_service.storage.selftest import prove_conditions
from osqueue_service.testing.store_conformance import ObjectStoreConformance
from tests.conformance.stores.conftest import BUCKET
from tests.servers import Server

OpenS3 = Callable[[], S3Store]


class S3Conformance(ObjectStoreConformance):
    versions_follow_content = True
    cas_rivals = 2

    @pytest.fixture
    def server(self) -> Server:
        raise NotImplementedError

    @pytest.fixture
    def open_store(self, server: Server, prefix: str, aws_session: Any) -> OpenS3:
        return lambda: S3Store(
            BUCKET, clock=SystemClock(), prefix=prefix, endpoint_url=server.endpoint, depth=8, session=aws_session
        )

    @pytest.fixture
    async def store(self, open_store: OpenS3) -> AsyncIterator[S3Store]:
        store = open_store()
        yield store
        await store.close()

    @pytest.fixture
    async def peer(self, open_store: OpenS3) -> AsyncIterator[S3Store]:
        peer = open_store()
        yield peer
        await peer.close()

    async def test_passes_the_self_test(self, store: S3Store) -> None:
        await prove_conditions(store, SystemClock(), SystemIds())
        assert await store.list_after("", "", 10) == []


class TestS3StoreOnMinistack(S3Conformance):
    @pytest.fixture
    def server(self, ministack: Server) -> Server:
        return ministack


class TestS3StoreOnSeaweedFS(S3Conformance):
    lists_in_order_of_bytes = False

    @pytest.fixture
    def server(self, seaweedfs: Server) -> Server:
        return seaweedfs


async def test_a_server_that_ignores_conditions_is_refused(
    s3rver: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "S3RVER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S3RVER")
    store = S3Store(BUCKET, clock=SystemClock(), prefix=prefix, endpoint_url=s3rver.endpoint)
    with pytest.raises(ConfigError) as error:
        await prove_conditions(store, SystemClock(), SystemIds())
    assert f"s3://{BUCKET}/{prefix} at {s3rver.endpoint}" in str(error.value)
    assert "accepted a put-if-absent of an object that exists" in str(error.value)
    assert await store.list_after("", "", 10) == []
    await store.close()

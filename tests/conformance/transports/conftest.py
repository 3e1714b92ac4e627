"""The same client over every transport, to one real broker behind one real gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from osqueue import OsqueueClient
from osqueue.transports.wire import WireTransport
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_service.app import App
from osqueue_service.testing.in_process import broker_in_process
from tests.conformance.transports.connect_link import ConnectLink

TOKEN = "conformance"


@dataclass
class Site:
    """A broker and a gateway before it."""

    app: App
    gateway: str

    @property
    def broker(self) -> str:
        return self.app.address

    async def waiting_claims(self, count: int) -> None:
        """Return when so many claims wait at the broker."""
        while self.app.broker.engine.waiting_claims != count:
            await asyncio.sleep(0)

    def client(self, transport: str, token: str = TOKEN, **options: Any) -> OsqueueClient:
        """A client of either, over `transport`."""
        if transport == "another's connect":
            return OsqueueClient(transport=WireTransport("connect", ConnectLink(self.gateway, token)), **options)
        address = f"grpc://{self.broker}" if transport == "grpc" else f"http://{self.gateway}"
        return OsqueueClient(address, transport=transport, token=token, **options)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with broker_in_process(settings={"OSQUEUE_TOKEN": TOKEN}) as broker:
        gateway = Gateway(GatewayConfig("127.0.0.1", 0, (broker.address,), token=TOKEN))
        await gateway.start()
        try:
            yield Site(broker, f"127.0.0.1:{gateway.port}")
        finally:
            await gateway.stop()


@pytest.fixture(params=["grpc", "rest", "ws", "connect", "another's connect"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(site: Site, transport: str) -> Callable[..., OsqueueClient]:
    """Makes further clients over the same transport."""
    return lambda **options: site.client(transport, **options)


@pytest.fixture
async def client(connect: Callable[..., OsqueueClient]) -> AsyncIterator[OsqueueClient]:
    async with connect() as client:
        yield client

"""Calls of the SDK that are refused leave nothing behind that only a collection would free, over any transport."""

import pytest

from osqueue import OsqueueClient
from osqueue.errors import OsqueueError
from tests.integration.gateway.gateways import Caller, gateway_and_broker
from tests.leftovers import left_by


def address_of(caller: Caller, transport: str) -> str:
    return caller.gateway.config.brokers[0] if transport == "grpc" else caller.url


@pytest.mark.parametrize("transport", ["grpc", "rest", "ws", "connect"])
async def test_of_refused_calls(transport: str) -> None:
    async with (
        gateway_and_broker() as caller,
        OsqueueClient(address_of(caller, transport), transport=transport) as client,
    ):

        async def refused() -> None:
            with pytest.raises(OsqueueError):
                await client.get_job("nope")
            with pytest.raises(OsqueueError):
                await client.submit_job("t", {"a": 1}, priority=100_000)
            with pytest.raises(OsqueueError):
                await client.cancel_job("nope")

        assert await left_by(refused) == {}

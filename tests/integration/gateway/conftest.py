from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.gateways import Caller, gateway_and_broker


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A caller of a gateway before a broker that leads, with an empty queue in memory."""
    async with gateway_and_broker() as found:
        yield found

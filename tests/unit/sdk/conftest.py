"""What the SDK's unit tests share."""

from collections.abc import AsyncIterator

import pytest

from osqueue import OsqueueClient
from tests.unit.sdk.memory_transport import MemoryTransport, Queue


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
async def client(queue: Queue) -> AsyncIterator[OsqueueClient]:
    """Over a queue in memory; pauses between retries are zero."""
    async with OsqueueClient(transport=MemoryTransport(queue), retry_delay_ms=0) as client:
        yield client

"""A broker in this process, without a network: what the engine, the log and the state cost by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from osqueue_service.broker import Broker
from osqueue_service.clock import SystemClock
from osqueue_service.ids import SystemIds
from osqueue_service.leadership import Addresses
from osqueue_service.memory_policy import settle_memory
from osqueue_service.storage import ObjectStore

JOB_BYTES = 200


@asynccontextmanager
async def leading_broker(store: ObjectStore, *, sole_owner: bool = True) -> AsyncIterator[Broker]:
    """A broker that leads on this store; handed over at the end."""
    broker = Broker(
        store,
        addresses=Addresses("127.0.0.1:0", "127.0.0.1:0"),
        clock=SystemClock(),
        ids=SystemIds(),
        sole_owner=sole_owner,
        on_loaded=settle_memory,
    )
    await broker.start(stand_by=False)
    try:
        yield broker
    finally:
        await broker.stop()

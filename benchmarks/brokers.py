"""A broker in this process, without a network: what the engine, the log and the state cost by themselves."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import randrange

from osqueue_service.broker import Broker
from osqueue_service.clock import SystemClock
from osqueue_service.engine.engine import Engine
from osqueue_service.ids import SystemIds
from osqueue_service.leadership import Addresses
from osqueue_service.memory_policy import settle_memory
from osqueue_service.state.commands import Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.storage import ObjectStore

JOB_BYTES = 200

# Random, because payloads that compress to nothing would make the log look small and checkpoints frequent.
_RANDOM = os.urandom(1024 * 1024)


def random_payload() -> bytes:
    start = randrange(len(_RANDOM) - JOB_BYTES)
    return _RANDOM[start : start + JOB_BYTES]


def random_jobs(count: int) -> list[JobSpec]:
    return [JobSpec("email", random_payload()) for _ in range(count)]


async def fill(engine: Engine, depth: int) -> None:
    """Submit until `depth` jobs wait."""
    while engine.views.totals.live < depth:
        await asyncio.gather(*(engine.execute(Submit(random_jobs(1_000))) for _ in range(min(16, depth // 1_000))))


@asynccontextmanager
async def leading_broker(
    store: ObjectStore, *, sole_owner: bool = True, stand_by: bool = False
) -> AsyncIterator[Broker]:
    """A broker that leads on this store, or stands by; handed over at the end."""
    broker = Broker(
        store,
        addresses=Addresses("127.0.0.1:0", "127.0.0.1:0"),
        clock=SystemClock(),
        ids=SystemIds(),
        sole_owner=sole_owner and not stand_by,
        on_loaded=settle_memory,
    )
    await broker.start(stand_by=stand_by)
    try:
        yield broker
    finally:
        await broker.stop()

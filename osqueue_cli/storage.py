"""A queue's store, opened for looking: nothing is written, whoever else may be using it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from osqueue_cli import output
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_service.app import store_settings
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.ids import SystemIds
from osqueue_service.log import LogCounters, SeedQueue, Settler
from osqueue_service.log.reader import Reader, Reading
from osqueue_service.storage.factory import open_store

T = TypeVar("T")


def look(overrides: Mapping[str, str], work: Callable[[Settler], Awaitable[T]]) -> T:
    """Do the work on the store that environment and flags name."""
    settings = Settings.read(os.environ, overrides)
    if not settings.backend.lasting:
        name = settings.backend.name
        raise Failure(f"the {name} backend lies in its broker's memory: there is nothing to look at", Exit.CONFIG)

    async def session() -> T:
        clock, ids = SystemClock(), SystemIds()
        store = open_store(store_settings(settings), clock, ids, read_only=True).store
        try:
            return await work(Settler(store, clock, ids, LogCounters()))
        finally:
            await store.close()

    return asyncio.run(session())


async def read_queue(settler: Settler, rebuild: Rebuild) -> Reading:
    """Read the queue into `rebuild`. A `Failure` says why there is none to read; damage raises `CorruptObject`."""
    reader = Reader(settler)
    reading = await reader.read(rebuild)
    if reading is None:
        raise Failure(f"there is no queue in {settler.store.description}", Exit.NOT_FOUND)
    if isinstance(reading, SeedQueue):
        raise Failure(
            f"queue.json in {settler.store.description} was written by an earlier osqueue: "
            f"{output.plural(len(reading.jobs), 'job')}, which the first broker of this version adopts",
            Exit.FAILED,
        )
    lost = await reading.replay.lost_at_gap()
    if lost is not None and not await reader.superseded(reading.root):
        raise lost
    return reading

"""A queue's store, opened for looking: nothing is written, whoever else may be using it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_service.app import store_settings
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.ids import SystemIds
from osqueue_service.log import LogCounters, Settler
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

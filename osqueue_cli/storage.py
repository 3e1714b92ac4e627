"""A queue's store, opened without a broker: to look, whoever may be using it, or to write a queue into a new one."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import click

from osqueue_cli import output
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_service.app import store_settings
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.engine.past import NotCovered, Past, read_past
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import InvalidRequest, QueueNotFound
from osqueue_service.ids import SystemIds
from osqueue_service.log import LogCounters, Root, SeedQueue, Settler
from osqueue_service.log.reader import Reader, Reading
from osqueue_service.queues.catalogue import Catalogue, Listed, check_queue_name
from osqueue_service.queues.queue_store import QueueStore
from osqueue_service.storage.factory import open_store

T = TypeVar("T")

stored_queue_option = click.option(
    "-q", "--queue", default="", metavar="NAME", help="Name of a queue; without it, the default one."
)
"""Which of the queues that lie in the store."""


def look(overrides: Mapping[str, str], work: Callable[[Settler], Awaitable[T]]) -> T:
    """Do the work on the store that environment and flags name."""
    settings = lasting_settings(overrides)

    async def session() -> T:
        async with opened(settings) as settler:
            return await work(settler)

    return asyncio.run(session())


def lasting_settings(overrides: Mapping[str, str]) -> Settings:
    """The settings, of a store in which there is something to look at."""
    settings = Settings.read(os.environ, overrides)
    if not settings.backend.lasting:
        name = settings.backend.name
        raise Failure(f"the {name} backend lies in its broker's memory: there is nothing to look at", Exit.CONFIG)
    return settings


def beside(settings: Settings, place: str) -> Settings:
    """The settings of the queue at another place in the same kind of store: a directory, or a prefix in the bucket."""
    return replace(settings, store={**settings.store, settings.backend.place: place})


@asynccontextmanager
async def opened(settings: Settings, *, read_only: bool = True) -> AsyncIterator[Settler]:
    """The store of these settings. To be written to, it must be one that no broker has."""
    clock, ids = SystemClock(), SystemIds()
    found = open_store(store_settings(settings), clock, ids, read_only=read_only)
    try:
        if found.exclusive is not None and not read_only:
            found.exclusive.own("osqueue restore")
        yield Settler(found.store, clock, ids, LogCounters())
    finally:
        await found.store.close()


async def queue_objects(settler: Settler, queue: str) -> Settler:
    """The objects of the queue of this name alone, by the keys that they have in it; "" is the default queue. A
    `Failure` says that there is none of the name."""
    if not queue:
        return settler
    try:
        check_queue_name(queue, "--queue")
        return objects_of(settler, await Catalogue(settler).read(queue))
    except InvalidRequest as invalid:
        raise Failure(str(invalid), Exit.USAGE) from None
    except QueueNotFound as unknown:
        raise Failure(f"in {settler.store.description}, {unknown}", Exit.NOT_FOUND) from None


def objects_of(settler: Settler, listed: Listed) -> Settler:
    """The objects of a named queue alone."""
    store = QueueStore(settler.store, listed.settings.name, listed.root.uid or "")
    return Settler(store, settler.clock, settler.ids, LogCounters())


def rebuild_of(settler: Settler) -> Rebuild:
    """What the queue whose objects these are is read into."""
    store = settler.store
    return Rebuild(queue=store.name if isinstance(store, QueueStore) else "")


async def leader_of(settler: Settler, reading: Reading) -> str:
    """Where its leader answers, "" if nobody leads. Who leads the default queue leads all of them: the root of a named
    one tells who took it last."""
    store = settler.store
    if not isinstance(store, QueueStore):
        return reading.root.leader
    root = await Reader(Settler(store.shared, settler.clock, settler.ids, LogCounters())).root()
    return root.leader if isinstance(root, Root) else ""


async def read_queue(settler: Settler, rebuild: Rebuild) -> Reading:
    """Read the queue into `rebuild`. A `Failure` says why there is none to read; damage raises `CorruptObject`."""
    reader = Reader(settler, rebuild.understood)
    reading = await reader.read(rebuild)
    if reading is None or isinstance(reading, SeedQueue):
        raise nothing_to_read(settler, reading)
    lost = await reading.replay.lost_at_gap()
    if lost is not None and not await reader.superseded(reading.root):
        raise lost
    return reading


async def read_queue_at(settler: Settler, rebuild: Rebuild, at_ms: int) -> Past:
    """Read the queue as it was at a moment into `rebuild`. A `Failure` says why that cannot be done."""
    if at_ms > output.now_ms():
        raise Failure(f"{output.timestamp(at_ms)} is yet to come", Exit.USAGE)
    try:
        past = await read_past(settler, rebuild, at_ms)
    except NotCovered as lapsed:
        damage = f" (and {lapsed.__cause__})" if lapsed.__cause__ is not None else ""
        raise Failure(
            f"what the queue was at {output.timestamp(at_ms)} is not kept any more: the oldest moment that is, is "
            f"{output.timestamp(lapsed.oldest_ms)}; LOG_RETENTION says for how long{damage}",
            Exit.NOT_FOUND,
        ) from None
    if past is None or isinstance(past, SeedQueue):
        raise nothing_to_read(settler, past)
    return past


def nothing_to_read(settler: Settler, found: SeedQueue | None) -> Failure:
    """Why there is no state to look at."""
    if found is None:
        return Failure(f"there is no queue in {settler.store.description}", Exit.NOT_FOUND)
    return Failure(
        f"queue.json in {settler.store.description} was written by an earlier osqueue: "
        f"{output.plural(len(found.jobs), 'job')}, which the first broker of this version adopts",
        Exit.FAILED,
    )

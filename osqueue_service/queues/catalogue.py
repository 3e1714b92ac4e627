"""Which queues with names there are: their roots, without what is in them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from osqueue_service.errors import (
    CorruptObject,
    InvalidRequest,
    QueueNotFound,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.log import Fence, Root, SeedQueue, Settler, decode_root
from osqueue_service.log.paths import parse_segment_key
from osqueue_service.log.root import GENESIS_CHECKPOINT, NamedQueue
from osqueue_service.log.segment import decode
from osqueue_service.queues.queue_store import (
    NAME,
    NAME_RULE,
    ROOTS_PREFIX,
    WARM_PREFIX,
    Marker,
    data_prefix,
    parse_marker,
    parse_root_key,
    root_key,
)

PAGE_KEYS = 1_000
NAMES_COMPARED = 1_000
"""With how many names an unknown one is compared, to say which may be meant."""
PARALLEL = 16
"""Requests at once where one answer takes many."""

K = TypeVar("K")
T = TypeVar("T")


class Listed(NamedTuple):
    """A queue's root as it was read, and the version that it had."""

    root: Root
    version: str

    @property
    def settings(self) -> NamedQueue:
        """What the root says of the queue."""
        settings = self.root.queue
        assert isinstance(settings, NamedQueue)
        return settings


def check_queue_name(name: str, field: str = "name") -> str:
    """The name, if a queue can have it; INVALID_REQUEST otherwise."""
    if not NAME.fullmatch(name):
        raise InvalidRequest.field(field, NAME_RULE)
    return name


class Catalogue:
    """The roots of all queues with names, in the store."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler

    async def read(self, name: str) -> Listed:
        """The queue's root. `QueueNotFound` names queues that are called nearly so."""
        found = await self.find(name)
        if found is None or found.settings.deleted:
            raise await self._unknown(name)
        return found

    async def create(self, name: str, *, description: str = "", max_jobs: int = 0) -> tuple[Listed, bool]:
        """Create a queue. One of this name that there is already stays as it is: then False."""
        settler, key = self._settler, root_key(name)
        backoff = settler.backoff()
        sent: set[str] = set()
        while True:
            before = await self.find(name)
            if before is not None and not before.settings.deleted:
                return before, before.root.nonce in sent
            settings = NamedQueue(
                name=name, created_at=settler.clock.wall_ms(), description=description, max_jobs=max_jobs
            )
            root = self._new_root(settings, 1 if before is None else before.root.epoch + 1)
            sent.add(root.nonce)
            try:
                if before is None:
                    version = await settler.store.put_if_absent(key, root.encode())
                else:
                    version = await settler.store.put_if_version(key, root.encode(), before.version)
            except (StoreRefused, StoreUnknown, StoreUnavailable):
                await backoff.pause()
                continue
            return Listed(root, version), True

    async def page(self, prefix: str, after: str, limit: int) -> tuple[list[Listed], str]:
        """Up to `limit` queues whose names begin with `prefix` and come after `after`, and the name to go on after; ""
        after the last."""
        keys = await self._settler.list_after(ROOTS_PREFIX + prefix, root_key(after) if after else "", limit)
        names = [name for key in keys if (name := parse_root_key(key))]
        found = await gathered(self.find, names)
        more = names[-1] if len(keys) == limit and names else ""
        return [each for each in found if each is not None and not each.settings.deleted], more

    async def names(self) -> AsyncIterator[str]:
        """The name of every root there is, in order, those of deleted queues and damaged ones included."""
        after = ""
        while keys := await self._settler.list_after(ROOTS_PREFIX, after, PAGE_KEYS):
            for name in filter(None, map(parse_root_key, keys)):
                yield name
            after = keys[-1]

    async def warm(self) -> dict[str, list[Marker]]:
        """The queues that are marked as in use, each with its markers, the latest last."""
        markers: dict[str, list[Marker]] = {}
        after = ""
        while keys := await self._settler.list_after(WARM_PREFIX, after, PAGE_KEYS):
            for marker in filter(None, map(parse_marker, keys)):
                markers.setdefault(marker.name, []).append(marker)
            after = keys[-1]
        return markers

    async def mark(self, marker: Marker) -> None:
        """Let whoever leads next know that the queue is in use."""
        await self._settler.put(marker.key, b"")

    async def unmark(self, markers: Sequence[Marker]) -> None:
        """Take these marks away. What stays is a queue that is opened and found to be idle, or gone."""
        for marker in markers:
            await self._delete(marker.key)

    async def erase(self, uid: str) -> None:
        """Delete what is left of a queue that was deleted. Fences stay: a leader that slept through all of it must
        still collide with one, and not acknowledge what nobody will ever read."""
        prefix, after = data_prefix(uid), ""
        while keys := await self._settler.list_after(prefix, after, PAGE_KEYS):
            await gathered(partial(self._erase, prefix), keys)
            after = keys[-1]

    async def _erase(self, prefix: str, key: str) -> None:
        slot = key.removeprefix(prefix)
        if parse_segment_key(slot) is not None:
            found = await self._settler.read(key)
            try:
                if found is None or isinstance(decode(slot, found.body).entry, Fence):
                    return
            except CorruptObject:
                return  # it may have been a fence
        await self._delete(key)

    async def _delete(self, key: str) -> None:
        backoff = self._settler.backoff()
        while True:
            try:
                return await self._settler.store.delete(key)
            except (StoreUnavailable, StoreUnknown):
                await backoff.pause()

    async def find(self, name: str) -> Listed | None:
        """The root of a queue, deleted or not; None where there never was one of this name."""
        found = await self._settler.read(root_key(name))
        if found is None:
            return None
        try:
            root = decode_root(found.body)
        except CorruptObject as corrupt:
            raise CorruptObject(root_key(name), corrupt.problem) from None
        if isinstance(root, SeedQueue) or not isinstance(root.queue, NamedQueue) or not root.uid:
            raise CorruptObject(root_key(name), "it is not the root of a queue with a name: restore it from a copy")
        if root.queue.name != name:
            raise CorruptObject(root_key(name), f"it is the root of the queue {root.queue.name}: restore it")
        return Listed(root, found.version)

    def _new_root(self, settings: NamedQueue, epoch: int) -> Root:
        ids, clock = self._settler.ids, self._settler.clock
        return Root(
            nonce=ids.nonce(),
            epoch=epoch,
            incarnation=ids.incarnation(),
            broker=None,
            grpc_address=None,
            broker_heartbeat=clock.wall_ms(),
            checkpoint=GENESIS_CHECKPOINT,
            uid=ids.incarnation(),
            queue=settings,
        )

    async def _unknown(self, name: str) -> QueueNotFound:
        keys = await self._settler.list_after(ROOTS_PREFIX, "", NAMES_COMPARED)
        names = [each for key in keys if (each := parse_root_key(key)) and each != name]
        near = get_close_matches(name, names, 3)
        meant = f"; is {' or '.join(map(repr, near))} meant? If not, " if near else ": "
        return QueueNotFound(f"no queue has the name {name!r}{meant}create it: `osqueue queues create {name}`")


def deleted(root: Root) -> Root:
    """The root of a queue that is gone: it vouches for nothing any more."""
    assert isinstance(root.queue, NamedQueue)
    return msgspec.structs.replace(
        root,
        broker=None,
        grpc_address=None,
        member=None,
        checkpoint=GENESIS_CHECKPOINT,
        state=None,
        completed_total=0,
        queue=msgspec.structs.replace(root.queue, deleted=True),
    )


async def gathered(work: Callable[[K], Awaitable[T]], items: Sequence[K]) -> list[T]:
    """What `work` makes of each, `PARALLEL` at a time. Where it is cancelled, what has not begun never does."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(item: K) -> T:
        async with gate:
            return await work(item)

    return await asyncio.gather(*map(one, items))

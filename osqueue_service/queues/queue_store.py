"""One named queue's objects, as the log knows them, in the store that all queues share.

The root of a named queue lies at `queues/{name}.json`, everything else below `data/{uid}/`. The uid is drawn anew
whenever a queue of the name is created, so what is put or deleted late for a queue that is gone touches no later one.
That a queue is in use is marked at `warm/{name}/{epoch}`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from osqueue_service.log.paths import EPOCH_DIGITS, ROOT
from osqueue_service.storage import ObjectStore
from osqueue_service.storage.store import StoredObject

ROOTS_PREFIX = "queues/"
DATA_PREFIX = "data/"
WARM_PREFIX = "warm/"

QUEUE_NAME_CHARS_MAX = 40
NAME = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{QUEUE_NAME_CHARS_MAX - 1}}}")
NAME_RULE = f"must be 1 to {QUEUE_NAME_CHARS_MAX} characters of a-z, 0-9 and hyphens, and must not begin with a hyphen"

_ROOT = re.compile(rf"{ROOTS_PREFIX}({NAME.pattern})\.json")
_WARM = re.compile(rf"{WARM_PREFIX}({NAME.pattern})/([0-9]{{{EPOCH_DIGITS}}})")


class Marker(NamedTuple):
    """A queue is in use since this epoch, as far as anybody knows."""

    name: str
    epoch: int

    @property
    def key(self) -> str:
        return f"{WARM_PREFIX}{self.name}/{self.epoch:0{EPOCH_DIGITS}d}"


def root_key(name: str) -> str:
    """The key of a named queue's root."""
    return f"{ROOTS_PREFIX}{name}.json"


def data_prefix(uid: str) -> str:
    """What the keys of all other objects of a queue begin with."""
    return f"{DATA_PREFIX}{uid}/"


def parse_root_key(key: str) -> str | None:
    """The queue's name, or None for any other key."""
    match = _ROOT.fullmatch(key)
    return match[1] if match else None


def parse_marker(key: str) -> Marker | None:
    """The marker that a key is, or None for a key that is none."""
    match = _WARM.fullmatch(key)
    return Marker(match[1], int(match[2])) if match else None


class QueueStore:
    """An `ObjectStore` of one named queue."""

    def __init__(self, store: ObjectStore, name: str, uid: str) -> None:
        self.name = name
        self.shared = store
        """The store that all queues have in common."""
        self._root = root_key(name)
        self._prefix = data_prefix(uid)

    @property
    def description(self) -> str:
        return self.shared.description

    def key(self, key: str) -> str:
        """Where an object of the queue lies in the store."""
        return self._root if key == ROOT else self._prefix + key

    async def read(self, key: str) -> StoredObject | None:
        return await self.shared.read(self.key(key))

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self.shared.put_if_absent(self.key(key), body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self.shared.put_if_version(self.key(key), body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        begins = len(self._prefix)
        found = await self.shared.list_after(self._prefix + prefix, after and self._prefix + after, limit)
        return [key[begins:] for key in found]

    async def delete(self, key: str) -> None:
        await self.shared.delete(self.key(key))

    async def close(self) -> None:
        """Nothing: the store is everybody's."""

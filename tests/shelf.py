"""A store that only gives out what lies in it, at once: for reading one bucket again and again."""

from collections.abc import Mapping, Sequence

from osqueue_service.log import LogCounters, Settler
from osqueue_service.storage.store import StoredObject
from tests.unit.log.virtual import SeededIds

WALL_MS = 1_700_000_000_000


class Unhurried:
    """A clock on which pauses take no time, and no turn of the loop."""

    def wall_ms(self) -> int:
        return WALL_MS

    def monotonic_ms(self) -> float:
        return 0.0

    async def sleep_ms(self, delay_ms: float) -> None:
        return None


class Shelf:
    """The objects. One of them, `key`, may be `damaged`."""

    description = "shelf"

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = objects
        self.keys = sorted(objects)
        self.key = ""
        self.damaged = b""

    async def read(self, key: str) -> StoredObject | None:
        body = self.damaged if key == self.key else self.objects.get(key)
        return None if body is None else StoredObject(body, "1")

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return [key for key in self.keys if key.startswith(prefix) and key > after][:limit]

    def settler(self) -> Settler:
        return Settler(self, Unhurried(), SeededIds(1), LogCounters())  # type: ignore[arg-type]

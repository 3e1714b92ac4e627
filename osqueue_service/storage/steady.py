"""A store whose every surprise is one of the outcomes that the protocol knows.

What an adapter raises and did not foresee (its SDK's, urllib3's, a bug's) says nothing about
the request: it is an unknown outcome, and nobody's end. A denial of what was allowed a moment
ago mostly passes: credentials roll, tokens expire, clocks are set. It counts as unavailable for a while.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from osqueue_service.clock import Clock
from osqueue_service.errors import StoreDenied, StoreError, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage.keys import InvalidKey
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.store import ObjectStore, StoredObject

log = logging.getLogger(__name__)

DENIED_LIMIT_MS = 120_000
"""How long a store that answered may deny the same kind of request for the same part of the bucket until that is taken
for final. Until then each denial counts as unavailable."""
DENIED_LOG_MS = 10_000
"""How often the log says so meanwhile."""

T = TypeVar("T")


class Denials:
    """How long each kind of request has been denied since it last succeeded. Shared by all views of one store."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._succeeded: set[tuple[Operation, str]] = set()
        self._since_ms: dict[tuple[Operation, str], float] = {}
        self._logged_ms = float("-inf")

    def answered(self, kind: tuple[Operation, str]) -> None:
        """A request of this kind was let in."""
        if kind not in self._succeeded:
            self._succeeded.add(kind)
        elif self._since_ms and self._since_ms.pop(kind, None) is not None:
            log.warning("the store allows %s of %s again", kind[0].value, kind[1])

    def judge(self, kind: tuple[Operation, str], denied: StoreDenied) -> StoreError:
        """What this denial counts as."""
        if kind not in self._succeeded:
            return denied
        now_ms = self._clock.monotonic_ms()
        denied_ms = now_ms - self._since_ms.setdefault(kind, now_ms)
        if denied_ms >= DENIED_LIMIT_MS:
            return denied
        if now_ms - self._logged_ms >= DENIED_LOG_MS:
            self._logged_ms = now_ms
            log.error(
                "the store denies what it allowed before, for %d s now: %s; asking again, for %d s at most "
                "(check credentials, permissions and this machine's clock)",
                denied_ms // 1_000, denied, DENIED_LIMIT_MS // 1_000,
            )  # fmt: skip
        return StoreUnavailable(str(denied))


class SteadyStore:
    """An `ObjectStore` over another one that raises `StoreError`s (and `InvalidKey`) only."""

    def __init__(self, inner: ObjectStore, denials: Denials) -> None:
        self._inner = inner
        self._denials = denials

    @property
    def description(self) -> str:
        return self._inner.description

    async def read(self, key: str) -> StoredObject | None:
        return await self._asked(Operation.READ, key, lambda: self._inner.read(key))

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self._asked(Operation.PUT_IF_ABSENT, key, lambda: self._inner.put_if_absent(key, body))

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self._asked(Operation.PUT_IF_VERSION, key, lambda: self._inner.put_if_version(key, body, version))

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return await self._asked(Operation.LIST, prefix, lambda: self._inner.list_after(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._asked(Operation.DELETE, key, lambda: self._inner.delete(key))

    async def close(self) -> None:
        await self._inner.close()

    async def _asked(self, operation: Operation, key: str, send: Callable[[], Awaitable[T]]) -> T:
        kind = operation, key.partition("/")[0]
        try:
            answer = await send()
        except StoreDenied as denied:
            raise self._denials.judge(kind, denied) from denied
        except StoreRefused:
            self._denials.answered(kind)
            raise
        except (StoreError, InvalidKey):
            raise
        except Exception as surprise:
            raise unknown_outcome(operation, key, surprise) from surprise
        self._denials.answered(kind)
        return answer


_SAID: set[tuple[Operation, type[Exception]]] = set()


def unknown_outcome(operation: Operation, key: str, surprise: Exception) -> StoreUnknown:
    """What a request came to that ended in an exception which its store does not know.

    The log shows the first of each class in full; all count as unknown outcomes in the metrics.
    """
    kind = operation, type(surprise)
    if kind not in _SAID:
        _SAID.add(kind)
        log.warning("%s %s: the store's client failed unexpectedly", operation.value, key, exc_info=surprise)
    try:
        said = str(surprise)
    except Exception:  # noqa: BLE001
        said = "it does not say why"
    return StoreUnknown(f"{operation.value} {key}: {type(surprise).__name__}: {said}")

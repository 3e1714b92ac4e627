"""The one small protocol that every object store implements.

A key is a relative path of `[A-Za-z0-9._/-]`, no empty, `.` or `..` segment, and no key is
the folder of another (`a` and `a/b`); anything else is an `InvalidKey`. A version is an
opaque string that changes with every write of that object; it comes from the very response
that read or wrote the object, never from a second request.

Every put has three outcomes, and an implementation must never blur them:

- it returns: the write is durable, and the version is of exactly this body;
- `StoreRefused`: the condition did not hold, this request wrote nothing;
- `StoreUnknown`: the write may have happened, or may still happen later.

`StoreUnavailable` says the request certainly was not applied and may succeed later,
`StoreDenied` that it never will. `StoreFailed` is a put of unknown outcome on a store that must
not be used any more, so it cannot be settled. No implementation retries a conditional put by itself:
a retry that meets its own first try would be reported as refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class StoredObject(NamedTuple):
    """An object's content and the version that this content has."""

    body: bytes
    version: str


class ObjectStore(Protocol):
    """A bucket, or what behaves like one. Every call may be cancelled; a cancelled put is an unknown one."""

    @property
    def description(self) -> str:
        """Where this is, for operators: `s3://bucket/prefix`, `file:///var/lib/osqueue`, `memory`."""
        ...

    async def read(self, key: str) -> StoredObject | None:
        """The whole object, or None when there certainly is none. A short body is `StoreUnknown`, never returned."""
        ...

    async def put_if_absent(self, key: str, body: bytes) -> str:
        """Create the object and return its version; `StoreRefused` when the key exists."""
        ...

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        """Replace the object if it still has `version`; return the new one. `StoreRefused` when it has
        another version or does not exist."""
        ...

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """Up to `limit` keys that begin with `prefix` and sort after the key `after` (`""` = from the first),
        in ascending order. An empty answer means there are no more."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object. Removing what is not there is success. A power cut may bring back what was
        just removed, as if the request had not arrived."""
        ...

    async def close(self) -> None:
        """Release threads, connections and locks. Idempotent; no call may follow."""
        ...


class TimedStore(ABC):
    """Derive a store from this when its answers tell the time by another clock than this machine's: a broker whose own
    clock is far ahead of that does not lead."""

    @abstractmethod
    def store_time_ms(self) -> int | None:
        """Milliseconds since the Unix epoch by the store's clock, as its latest answers tell; None before the first."""


class ExclusiveStore(ABC):
    """Derive a store from this when only one broker at a time can use it, because it lies in this process or behind a
    lock: its broker then leads without waiting for anybody's silence, and has no standby."""

    @abstractmethod
    def own(self, address: str) -> None:
        """Own the store for one broker, reached at `address`, until `disown`, `close` or the end of the process: every
        earlier owner is then proved dead. `BrokerLeadershipError` names the owner that is alive."""

    @abstractmethod
    def disown(self) -> None:
        """Leave the store to the next broker. Idempotent."""

"""What is remembered for a while: a table whose oldest entries are forgotten first."""

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

_CHUNK = 1_024


class Expiring(Protocol):
    """An entry that is honoured until `expires_at` (ms)."""

    @property
    def expires_at(self) -> int: ...


E = TypeVar("E", bound=Expiring)


class Memory(Generic[E]):
    """Entries by key, in the order in which they were remembered.

    The order is kept in chunks of keys. Full chunks are tuples of strings, which the garbage
    collector stops looking at, and a checkpoint can walk the table in slices while it grows.
    """

    __slots__ = ("_entries", "_newest", "_older", "_oldest", "_replaced")

    def __init__(self) -> None:
        self._entries: dict[str, E] = {}
        self._oldest: deque[str] = deque()
        self._older: deque[tuple[str, ...]] = deque()
        self._newest: list[str] = []
        # What entries were before they were replaced, for the walk that is under way.
        self._replaced: dict[str, E] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now_ms: int) -> E | None:
        """The entry, if there is one and it has not expired."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_at > now_ms else None

    def remember(self, key: str, entry: E) -> None:
        """Add an entry. A key that is there already (expired, or it would have been found) keeps its place
        in the order of forgetting and gets the new entry."""
        if key in self._entries:
            if self._replaced is not None:
                self._replaced.setdefault(key, self._entries[key])
        else:
            self._newest.append(key)
            if len(self._newest) == _CHUNK:
                self._older.append(tuple(self._newest))
                self._newest.clear()
        self._entries[key] = entry

    def expired(self, now_ms: int, limit: int, cap: int) -> int:
        """How many of the oldest entries may be forgotten: expired ones and those above the cap, at most `limit`."""
        count = 0
        surplus = len(self._entries) - cap
        for key in self._keys():
            if count == limit or (count >= surplus and self._entries[key].expires_at > now_ms):
                break
            count += 1
        return count

    def forget(self, count: int) -> None:
        """Remove the `count` oldest entries."""
        for _ in range(count):
            if not self._oldest:
                if self._older:
                    self._oldest.extend(self._older.popleft())
                else:
                    self._oldest.extend(self._newest)
                    self._newest.clear()
            del self._entries[self._oldest.popleft()]

    def next_expiry_ms(self) -> int | None:
        """When the oldest entry may be forgotten."""
        key = next(self._keys(), None)
        return None if key is None else self._entries[key].expires_at

    def slices(self) -> Iterator[list[tuple[str, E]]]:
        """The entries of this moment, a slice at a time. Entries may be added and replaced between two slices, none
        may be forgotten until the last. A new walk ends the one before it. Equal tables have equal slices, whatever
        was forgotten before."""
        chunks = [tuple(self._oldest), *self._older, tuple(self._newest)]
        self._replaced = {}
        return self._walk(chain.from_iterable(chunks), self._replaced)

    def _walk(self, keys: Iterator[str], replaced: dict[str, E]) -> Iterator[list[tuple[str, E]]]:
        entries = self._entries
        while some := list(islice(keys, _CHUNK)):
            yield [(key, replaced[key] if key in replaced else entries[key]) for key in some]
        if self._replaced is replaced:
            self._replaced = None

    def _keys(self) -> Iterator[str]:
        yield from self._oldest
        for chunk in self._older:
            yield from chunk
        yield from self._newest

"""What is remembered for a while: a table whose oldest entries are forgotten first."""

from collections import deque
from collections.abc import Iterable, Iterator
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

    A key that is remembered anew or forgotten out of turn leaves its old place in the order behind: such a place is
    void, and `_void` counts how many of a key's places are, which are always its oldest.
    """

    __slots__ = ("_entries", "_newest", "_older", "_oldest", "_replaced", "_void")

    def __init__(self) -> None:
        self._entries: dict[str, E] = {}
        self._oldest: deque[str] = deque()
        self._older: deque[tuple[str, ...]] = deque()
        self._newest: list[str] = []
        self._void: dict[str, int] = {}
        # What entries were before they were replaced, for the walk that is under way.
        self._replaced: dict[str, E] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether the key is in the table, expired or not."""
        return key in self._entries

    def get(self, key: str, now_ms: int) -> E | None:
        """The entry, if there is one and it has not expired."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_at > now_ms else None

    def remember(self, key: str, entry: E) -> None:
        """Add an entry. One that is there already (expired, or it would have been found) is replaced, and becomes the
        newest: it is honoured longest, and must not keep those behind it from being forgotten."""
        if key in self._entries:
            if self._replaced is not None:
                self._replaced.setdefault(key, self._entries[key])
            self._leave_place(key)
        self._newest.append(key)
        if len(self._newest) == _CHUNK:
            self._older.append(tuple(self._newest))
            self._newest.clear()
        self._entries[key] = entry

    def expired(self, now_ms: int, limit: int, cap: int) -> list[str]:
        """The oldest entries that may be forgotten: expired ones and those above the cap, at most `limit`."""
        keys: list[str] = []
        surplus = len(self._entries) - cap
        for key in self.keys():
            if len(keys) == limit or (len(keys) >= surplus and self._entries[key].expires_at > now_ms):
                break
            keys.append(key)
        return keys

    def forget(self, keys: Iterable[str]) -> None:
        """Remove these entries; `KeyError` for one that is not there. Quickest for the oldest, in order."""
        for key in keys:
            del self._entries[key]
            self._drop_void()
            if self._first() == key:
                self._oldest.popleft()
            else:
                self._leave_place(key)
        self._drop_void()

    def next_expiry_ms(self) -> int | None:
        """When the oldest entry may be forgotten."""
        self._drop_void()
        key = self._first()
        return None if key is None else self._entries[key].expires_at

    def slices(self) -> Iterator[list[tuple[str, E]]]:
        """The entries of this moment, a slice at a time. Entries may be added and replaced between two slices, none
        may be forgotten until the last. A new walk ends the one before it. Equal tables have equal slices, whatever
        was forgotten before."""
        chunks = [tuple(self._oldest), *self._older, tuple(self._newest)]
        self._replaced = {}
        places = _valid(chain.from_iterable(chunks), dict(self._void))
        return self._walk(places, self._replaced)

    def keys(self) -> Iterator[str]:
        """All keys, the oldest first. The table must not change meanwhile."""
        places = chain(self._oldest, chain.from_iterable(self._older), self._newest)
        return _valid(places, dict(self._void)) if self._void else places

    def _walk(self, keys: Iterator[str], replaced: dict[str, E]) -> Iterator[list[tuple[str, E]]]:
        entries = self._entries
        while some := list(islice(keys, _CHUNK)):
            yield [(key, replaced[key] if key in replaced else entries[key]) for key in some]
        if self._replaced is replaced:
            self._replaced = None

    def _first(self) -> str | None:
        """The key in the oldest place."""
        if not self._oldest:
            if self._older:
                self._oldest.extend(self._older.popleft())
            else:
                self._oldest.extend(self._newest)
                self._newest.clear()
        return self._oldest[0] if self._oldest else None

    def _leave_place(self, key: str) -> None:
        self._void[key] = self._void.get(key, 0) + 1

    def _drop_void(self) -> None:
        """Take the void places off the old end."""
        while self._void and (key := self._first()) is not None and key in self._void:
            self._oldest.popleft()
            self._void[key] -= 1
            if not self._void[key]:
                del self._void[key]


def _valid(places: Iterator[str], void: dict[str, int]) -> Iterator[str]:
    """The places without the void ones, which are the first of their keys."""
    if not void:
        yield from places
        return
    for key in places:
        left = void.get(key, 0)
        if left:
            void[key] = left - 1
        else:
            yield key

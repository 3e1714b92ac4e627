"""Jobs by the moment at which something is due for them.

An entry is one integer, `moment << 40 | number`: it sorts like the pair, costs half of a
tuple, and is removed for good when its job moves on, so that a queue that completes
millions of jobs an hour does not carry their deadlines around.
"""

from collections.abc import Iterator

from sortedcontainers import SortedList

_NUMBER_BITS = 40
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


class Deadlines:
    """Job numbers in ascending order of a time in milliseconds."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: SortedList[int] = SortedList()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, at_ms: int, number: int) -> None:
        self._entries.add(at_ms << _NUMBER_BITS | number)

    def remove(self, at_ms: int, number: int) -> None:
        """Take back exactly what was added; a KeyError-like failure here is a broken index."""
        self._entries.remove(at_ms << _NUMBER_BITS | number)

    def next_ms(self) -> int | None:
        """The earliest moment, or None when nothing is due ever."""
        return self._entries[0] >> _NUMBER_BITS if self._entries else None

    def due(self, now_ms: int) -> Iterator[int]:
        """The numbers whose moment is `now_ms` or earlier, earliest first. Do not change it meanwhile."""
        bound = (now_ms + 1) << _NUMBER_BITS
        for entry in self._entries:
            if entry >= bound:
                return
            yield entry & _NUMBER_MASK

    def __iter__(self) -> Iterator[int]:
        """All numbers, the earliest first."""
        for entry in self._entries:
            yield entry & _NUMBER_MASK

"""Entries in ascending order, of which mostly the first is wanted.

Most are short, and a list is then the smallest and quickest. A long one becomes a `SortedList`: inserting into a list
of a hundred thousand moves all that stand behind.
"""

from bisect import bisect_left, insort
from typing import Any, TypeAlias, TypeVar

from sortedcontainers import SortedList

LONG = 1_000
"""A list that has grown to this many entries becomes a SortedList, until it is empty."""

T = TypeVar("T", bound=tuple[Any, ...])

Order: TypeAlias = "list[T] | SortedList[T]"


def replaced(entries: "Order[T]", old: T | None, new: T | None) -> "Order[T]":
    """The entries with `new` in the place of `old`; None for neither. The order may be another object afterwards."""
    if isinstance(entries, list):
        if old is not None:
            if new is not None and len(entries) == 1:
                entries[0] = new
                return entries
            del entries[bisect_left(entries, old)]
        if new is not None:
            insort(entries, new)
            if len(entries) >= LONG:
                return SortedList(entries)
        return entries
    if old is not None:
        entries.remove(old)
    if new is not None:
        entries.add(new)
    return entries if entries else []

"""Cutting what is stored into parts that take a step of milliseconds to write and to read."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PART_BYTES: Final = 1024 * 1024
"""A part is closed when its entries have come to about this much: a step of writing or reading one takes milliseconds,
whatever the jobs weigh. One job that is larger has a part to itself."""


def by_size(items: list[T], size_of: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The items in lists of at most `most`, each closed when it has reached `PART_BYTES`."""
    some: list[T] = []
    size = 0
    for item in items:
        some.append(item)
        size += size_of(item)
        if len(some) == most or size >= PART_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some

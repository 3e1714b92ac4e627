"""One look at a queue for its metrics: by type and by named limit, as many of each as have figures of their own.

Looking takes a step for each type; what takes longer, such as finding the oldest job of a type, is done as it is
asked for, so that whoever writes the metrics can let others go first in between.
"""

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

from msgspec import Struct

from osqueue_service.engine.type_tallies import OTHERS, TypeTallies, TypeTally
from osqueue_service.limits import Limits
from osqueue_service.state.lines import Lines
from osqueue_service.state.state import State

LINES_ASKED_MAX = 1_000
"""Lines of one type that are asked for their oldest job: of more, what these say is the answer, and the true age is at
least that. The lines are asked in the order in which they began."""


class TypeFigures(Struct):
    """One type. `counts` are its jobs by status; `paused` is None for the others together."""

    name: str
    counts: list[int]
    paused: bool | None
    tally: TypeTally


class LimitFigures(Struct):
    """One named limit: the cost that runs, how many of its jobs wait, and the cost that may run at a time if that is
    limited and shared by all keys (else below 0)."""

    name: str
    running: int
    waiting: int
    most: int


class QueueFigures:
    """What the queue was when this was made."""

    def __init__(self, state: State, tallies: TypeTallies, now_ms: int, limits: Limits) -> None:
        self.types = list(_types_of(state, tallies))
        self.limits = [
            LimitFigures(
                family.name,
                family.running,
                family.waiting,
                -1 if family.limit is None or family.limit.per_key else family.limit.max_running,
            )
            for family in nsmallest(
                limits.metric_limits, state.lines.limits.families.values(), key=lambda family: family.name
            )
        ]
        self._lines = state.lines
        self._now_ms = now_ms

    def ages_ms(self) -> Iterator[tuple[str, int] | None]:
        """How long the oldest waiting job of each type has waited, 0: none waits. None between them: it goes on."""
        for figures in self.types:
            if figures.name == OTHERS:
                continue
            since = 0
            for at in _since(self._lines, figures.name):
                if at and (not since or at < since):
                    since = at
                yield None
            yield figures.name, max(0, self._now_ms - since) if since else 0


def _since(lines: Lines, type_name: str) -> Iterator[int]:
    """Since when the oldest job of each line waits (ms), 0: of none. Lines may change meanwhile."""
    return (line.ready_since for line in list(islice(lines.lines_of(type_name), LINES_ASKED_MAX)))


def _types_of(state: State, tallies: TypeTallies) -> Iterator[TypeFigures]:
    """Those with figures of their own by their names, then the others."""
    paused = state.lines.gates.paused
    rest = [roster.count for roster in state.rosters]
    nothing = [0] * len(rest)
    for name, tally in tallies:
        counts = state.type_counts.get(name)
        if counts is not None:
            counts = list(counts)
            rest = [count - own for count, own in zip(rest, counts, strict=True)]
        yield TypeFigures(name, counts or nothing, name in paused, tally)
    yield TypeFigures(OTHERS, rest, None, tallies.others)

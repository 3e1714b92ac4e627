"""The queue's figures as of one commit; those of the last durable one are ready to be answered at once."""

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from osqueue_service.state.fairness import DEFAULT_WEIGHT
from osqueue_service.state.model import LIVE, Counters, Status
from osqueue_service.state.schedules import Schedules, Tally
from osqueue_service.state.state import State


class ScheduleTotals(Struct, frozen=True, gc=False):
    """Schedules there are, what became of the times of all there ever were, and when the next one is due (0: none)."""

    count: int
    paused: int
    due_at: int
    tally: Tally


class Totals(Struct, frozen=True, gc=False):
    """What GetStats answers: counts by status, in the order of `Status` and under the public names; bytes of live jobs;
    totals since the beginning."""

    unclaimed: int
    scheduled: int
    in_progress: int
    completed: int
    dead: int
    cancelled: int
    blocked: int
    bytes: int
    counters: Counters
    schedules: ScheduleTotals | None = None
    """None where there never was one."""
    revived: int = 0
    """Cancellations of jobs of workflows that a retry of what they need has undone."""

    @property
    def live(self) -> int:
        return sum([getattr(self, status.wire) for status in LIVE])


def totals_of(state: State) -> Totals:
    """The figures now; costs the same however long the queue is."""
    unclaimed, scheduled, in_progress, completed, dead, cancelled, blocked = [roster.count for roster in state.rosters]
    return Totals(
        unclaimed=unclaimed,
        scheduled=scheduled,
        in_progress=in_progress,
        completed=completed,
        dead=dead,
        cancelled=cancelled,
        blocked=blocked,
        bytes=state.live_bytes,
        counters=replace(state.counters),
        schedules=_schedules(state.schedules) if state.schedules.known else None,
        revived=state.graphs.revived,
    )


def _schedules(schedules: Schedules) -> ScheduleTotals:
    return ScheduleTotals(len(schedules), schedules.paused, schedules.due.next_ms() or 0, schedules.tally)


def live_count(counts: Sequence[int]) -> int:
    """Live jobs among counts by status."""
    return sum([counts[status] for status in LIVE])


TYPES_INTERVAL_MS = 250
"""Under load, figures by type are at most this much older than the last durable commit."""
TYPES_MAX = 1_000
"""Types that statistics show: the first in order of their names."""
KEYS_MAX = 20
"""Fairness keys that statistics show."""
LINES_SCANNED = 1_000
"""Lines of a type that are asked since when their jobs wait."""


class TypeTotals(Struct, frozen=True, gc=False):
    """The figures of one type: jobs kept by status, and since when its oldest waiting job has been ready (0: none)."""

    name: str
    counts: tuple[int, ...]
    paused: bool
    ready_since: int


class KeyTotals(Struct, frozen=True, gc=False):
    """The figures of one fairness key: its weight in thousandths, its jobs that wait and that run, how many were
    claimed while there were any."""

    key: str
    weight: int
    waiting: int
    running: int
    claimed: int


class Breakdown(Struct, frozen=True, gc=False):
    """The figures by type, and those of the fairness keys with the most waiting jobs."""

    types: list[TypeTotals]
    keys: list[KeyTotals]


def breakdown_of(state: State) -> Breakdown:
    """Costs time in proportion to the number of types, whatever waits and however many keys there are."""
    fair = state.fairness
    keys = [
        KeyTotals(row.key, fair.weights.get(row.key, DEFAULT_WEIGHT), row.waiting, row.running, row.claimed)
        for row in (fair.largest(KEYS_MAX) if fair.keys else ())
    ]
    return Breakdown(type_totals_of(state), keys)


def type_totals_of(state: State) -> list[TypeTotals]:
    """By type, in order of their names. Of a type with more lines than `LINES_SCANNED` these many are asked, those that
    have been there longest: the true age of the oldest job is at least what they say."""
    paused = state.lines.gates.paused
    names = nsmallest(TYPES_MAX, {*state.type_counts, *paused})
    nothing = (0,) * len(Status)
    return [
        TypeTotals(
            name=name,
            counts=tuple(state.type_counts.get(name, nothing)),
            paused=name in paused,
            ready_since=_ready_since(state, name),
        )
        for name in names
    ]


def _ready_since(state: State, name: str) -> int:
    lines = islice(state.lines.lines_of(name), LINES_SCANNED)
    return min((line.ready_since for line in lines), default=0)


class Statistics:
    """Keeps the figures that commits carried."""

    def __init__(self, state: State, monotonic: float) -> None:
        self.totals: Totals = totals_of(state)
        self.breakdown: Breakdown = breakdown_of(state)
        self._state = state
        self._types_at = monotonic

    def now(self, monotonic: float) -> tuple[Totals, Breakdown | None]:
        """The figures for the commit that is being put: those by type only once in a while, because they cost time in
        proportion to the number of types."""
        if monotonic - self._types_at < TYPES_INTERVAL_MS:
            return totals_of(self._state), None
        self._types_at = monotonic
        return totals_of(self._state), breakdown_of(self._state)

    def durable(self, totals: Totals, breakdown: Breakdown | None) -> None:
        """These figures are of a commit that has just become durable."""
        self.totals = totals
        if breakdown is not None:
            self.breakdown = breakdown

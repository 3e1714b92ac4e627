"""The queue's figures as of the last durable commit, ready to be answered at once."""

from osqueue_service.clock import Clock
from osqueue_service.engine.totals import Totals, TypeTotals, totals_of, type_totals_of
from osqueue_service.state.state import State

TYPES_INTERVAL_MS = 250
"""Under load, figures by type are at most this much older than the last durable commit."""


class Statistics:
    """Keeps the figures that commits carried."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.totals: Totals = totals_of(state)
        self.types: list[TypeTotals] = type_totals_of(state)
        self._state = state
        self._clock = clock
        self._types_at = clock.monotonic_ms()

    def now(self) -> tuple[Totals, list[TypeTotals] | None]:
        """The figures for the commit that is being put: those by type only once in a while, because they cost time in
        proportion to the number of types."""
        monotonic = self._clock.monotonic_ms()
        if monotonic - self._types_at < TYPES_INTERVAL_MS:
            return totals_of(self._state), None
        self._types_at = monotonic
        return totals_of(self._state), type_totals_of(self._state)

    def durable(self, totals: Totals, types: list[TypeTotals] | None) -> None:
        """These figures are of a commit that has just become durable."""
        self.totals = totals
        if types is not None:
            self.types = types

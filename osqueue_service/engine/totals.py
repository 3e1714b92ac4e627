"""The queue's figures as of one commit."""

from msgspec import Struct
from msgspec.structs import replace

from osqueue_service.state.model import Counters, Status
from osqueue_service.state.state import State


class Totals(Struct, frozen=True, gc=False):
    """What GetStats answers: counts by status, bytes of live jobs, totals since the beginning."""

    unclaimed: int
    scheduled: int
    in_progress: int
    completed: int
    dead: int
    cancelled: int
    bytes: int
    counters: Counters

    @property
    def live(self) -> int:
        return self.unclaimed + self.scheduled + self.in_progress


def totals_of(state: State) -> Totals:
    """The figures now; costs the same however long the queue is."""
    rosters = state.rosters
    return Totals(
        unclaimed=rosters[Status.UNCLAIMED].count,
        scheduled=rosters[Status.SCHEDULED].count,
        in_progress=rosters[Status.IN_PROGRESS].count,
        completed=rosters[Status.COMPLETED].count,
        dead=rosters[Status.DEAD].count,
        cancelled=rosters[Status.CANCELLED].count,
        bytes=state.live_bytes,
        counters=replace(state.counters),
    )

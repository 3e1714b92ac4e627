"""What the leader keeps beside the state: leases, workers, figures, and those who wait for news of jobs.

All of it follows the moves that records make, and none of it is stored. A follower asks of a
move where the job came from and where it went; why it moved matters only to those who tell
people.
"""

from collections.abc import Callable

from osqueue_service.engine.events import EventHub, events_of
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.notices import LeaseNotices
from osqueue_service.engine.pipeline import Batch
from osqueue_service.engine.waiting import FinishWaiters
from osqueue_service.engine.workers import WorkerTable
from osqueue_service.limits import Limits
from osqueue_service.state.apply import apply
from osqueue_service.state.model import Status
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State


class Followers:
    """Applies records, and keeps up with them."""

    def __init__(self, state: State, limits: Limits, storage_requests: Callable[[], int]) -> None:
        self.leases = LeaseTable()
        self.workers = WorkerTable(limits.workers)
        self.figures = Figures(storage_requests)
        self.hub = EventHub(limits.watchers, limits.watch_events)
        self.finishing = FinishWaiters(limits.waiting_reads)
        self.notices = LeaseNotices()
        self._state = state
        state.moves = []

    def start(self, monotonic: int, now_ms: int) -> None:
        """After a takeover: every lease in the state lives for its full length from now."""
        for job in self._state.roster(Status.IN_PROGRESS):
            lease = job.lease
            assert lease is not None
            self.leases.start(job.number, lease, monotonic, now_ms)
            self.workers.holds(lease.worker_id, job.number, now_ms)

    def apply(self, record: AnyRecord, monotonic: int, batch: Batch) -> None:
        """Apply the record; add what it means to those who wait or watch to the batch."""
        state = self._state
        apply(state, record, batch.at_ms)
        moves, state.moves = state.moves, []
        if not moves:
            return
        self.leases.follow(moves, monotonic, batch.at_ms)
        self.workers.follow(moves, batch.at_ms)
        self.figures.follow(moves, batch.at_ms)
        if self.finishing.count:
            batch.finished += self.finishing.finished_by(moves)
        if self.notices.wanted:
            batch.notices += self.notices.raised_by(moves)
        if self.hub.watched:
            # Now, because the next record of this commit may change the same jobs.
            batch.events += events_of(state, moves, batch.at_ms)

"""What the leader keeps beside the state: leases, workers, figures, and those who wait for news of jobs.

All of it follows the moves that records make, and none of it is stored. A follower asks of a
move where the job came from and where it went; why it moved matters only to those who tell
people.
"""

import logging
from collections.abc import Callable
from itertools import islice

from osqueue_service.engine.events import EventHub, events_of
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.notices import LeaseNotices
from osqueue_service.engine.outcomes import Outcomes
from osqueue_service.engine.pipeline import Batch, PendingCommit
from osqueue_service.engine.type_tallies import TypeTallies
from osqueue_service.engine.waiting import FinishWaiters
from osqueue_service.engine.workers import WorkerTable
from osqueue_service.limits import Limits
from osqueue_service.state.apply import apply
from osqueue_service.state.model import IN_PROGRESS
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State

log = logging.getLogger(__name__)


class Followers:
    """Applies records, and keeps up with them."""

    def __init__(self, state: State, limits: Limits, storage_requests: Callable[[], int]) -> None:
        self.leases = LeaseTable()
        self.workers = WorkerTable(limits.workers, limits.worker_types)
        self.figures = Figures(storage_requests, TypeTallies(limits.metric_types, state.type_counts))
        self.hub = EventHub(limits.watchers, limits.watch_events)
        self.finishing = FinishWaiters(limits.waiting_reads)
        self.notices = LeaseNotices()
        self.outcomes = Outcomes(state, limits)
        self._state = state
        self._limits = limits
        state.moves = []

    def start(self, monotonic: int, now_ms: int) -> None:
        """After a takeover: every lease in the state lives for its full length from now, and the types that have jobs
        are known."""
        for name in islice(self._state.type_counts, self._limits.metric_types):
            self.figures.tallies.know(name, now_ms)
        for job in self._state.roster(IN_PROGRESS):
            lease = job.lease
            assert lease is not None
            self.leases.start(job.number, lease, monotonic, now_ms)
            self.workers.holds(lease.worker_id, job, now_ms)

    def apply(self, record: AnyRecord, batch: Batch) -> None:
        """Apply the record; add what it means to those who wait or watch to the batch."""
        state = self._state
        apply(state, record, batch.at_ms)
        moves, state.moves = state.moves, []
        if not moves:
            return
        if any(move.target is IN_PROGRESS or move.source is IN_PROGRESS for move in moves):
            self.leases.follow(moves, int(batch.monotonic), batch.at_ms)
            self.workers.follow(moves, batch.at_ms)
        self.figures.follow(moves, batch.at_ms)
        self.outcomes.follow(moves, batch.at_ms)
        if self.finishing.count:
            batch.finished += self.finishing.finished_by(moves)
        if self.notices.listeners:
            batch.notices += self.notices.raised_by(moves)
        if self.hub.watchers:
            # Now, because the next record of this commit may change the same jobs.
            batch.events += events_of(state, moves, batch.at_ms)

    def durable(self, commit: PendingCommit, now_ms: int, took_ms: float, fail: Callable[[Exception], None]) -> None:
        """Tell everybody of a commit that is durable. A defect in telling some keeps it from nobody else: `fail` is
        given it, because those who were not told must ask another leader; without figures nobody but people misses
        anything."""
        try:
            self.figures.committed(commit.totals, now_ms, took_ms, commit.size)
        except Exception:
            log.exception("commit %d is missing in the figures", commit.sequence)
        if self.finishing.count:
            _tell(commit, fail, lambda: self.finishing.notify(commit.finished))
        if self.hub.watchers:
            _tell(commit, fail, lambda: self.hub.publish(commit.events, commit.sequence))
        if self.notices.listeners:
            _tell(commit, fail, lambda: self.notices.tell(commit.notices))


def _tell(commit: PendingCommit, fail: Callable[[Exception], None], tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception as bug:
        log.exception("somebody was not told of commit %d", commit.sequence)
        fail(bug)

"""What the leader keeps beside the state: leases, workers, figures, events.

All of it follows the records as they are applied, and none of it is stored.
"""

from collections.abc import Callable

from osqueue_service.engine import events
from osqueue_service.engine.events import EventHub, JobEvent
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.workers import Worker, WorkerTable
from osqueue_service.limits import Limits
from osqueue_service.state.apply import apply
from osqueue_service.state.model import Ending, Status
from osqueue_service.state.records import AnyRecord, AttemptsEnded, Claimed, Completed, Purged
from osqueue_service.state.state import State

_FAILURES = (Ending.FAILED, Ending.EXPIRED, Ending.TIMED_OUT)


class Projections:
    """Applies records, and keeps up with them."""

    def __init__(self, state: State, limits: Limits, storage_requests: Callable[[], int]) -> None:
        self.leases = LeaseTable()
        self.workers = WorkerTable(limits.workers)
        self.figures = Figures(storage_requests)
        self.hub = EventHub(limits.watchers, limits.watch_events)
        self._state = state

    def start(self, monotonic: int, now_ms: int) -> None:
        """After a takeover: every lease in the state lives for its full length from now."""
        for job in self._state.roster(Status.IN_PROGRESS):
            lease = job.lease
            assert lease is not None
            self.leases.start(job.number, lease.token, lease.worker_id, lease.lease_ms, monotonic, now_ms)
            self.workers.seen(lease.worker_id, now_ms).numbers[job.number] = None

    def apply(self, record: AnyRecord, monotonic: int, now_ms: int, happened: list[JobEvent]) -> None:
        """Apply the record; add what it means to watchers to `happened`."""
        state = self._state
        watched = self.hub.watched
        if watched:
            happened += events.before(state, record, now_ms)
        apply(state, record, now_ms)
        self._follow_leases(record, monotonic, now_ms)
        self.figures.follow(state, record, now_ms)
        if watched:
            happened += events.after(state, record, now_ms)

    def _follow_leases(self, record: AnyRecord, monotonic: int, now_ms: int) -> None:
        if isinstance(record, Claimed):
            worker_id = record.worker_id
            worker = self.workers.seen(worker_id, now_ms)
            for grant in record.grants:
                self.leases.start(grant.number, grant.token, worker_id, grant.lease_ms, monotonic, now_ms)
                worker.numbers[grant.number] = None
            worker.claimed += len(record.grants)
        elif isinstance(record, Completed):
            for item in record.items:
                if (holder := self._let_go(item.number)) is not None:
                    holder.completed += 1
        elif isinstance(record, AttemptsEnded):
            for end in record.items:
                if (holder := self._let_go(end.number)) is not None:
                    holder.failed += end.ending in _FAILURES
        elif isinstance(record, Purged):
            for number in record.numbers:
                self._let_go(number)

    def _let_go(self, number: int) -> Worker | None:
        """The job's lease is over, if it has one; whoever held it, as far as known."""
        lease = self.leases.end(number)
        worker = self.workers.get(lease.worker_id) if lease is not None else None
        if worker is not None:
            worker.numbers.pop(number, None)
        return worker

"""Who works: what this leader has heard of each worker since it began to lead."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from osqueue_service.state.model import COMPLETED, Job
from osqueue_service.state.moves import Cause, Moves

IDLE_MS_MAX = 3_600_000
"""A worker that holds no lease and was not heard of for an hour is forgotten."""

_FAILURES = (Cause.FAILED, Cause.EXPIRED, Cause.TIMED_OUT)


class Worker(Struct):
    """One worker. Times are queue time (ms); `slots` is 0 unless it said how many jobs it takes at once; `streams` are
    its open Work streams."""

    id: str
    first_seen: int
    last_seen: int
    version: str = ""
    types: tuple[str, ...] = ()
    slots: int = 0
    streams: int = 0
    draining: bool = False
    claimed: int = 0
    completed: int = 0
    failed: int = 0
    numbers: dict[int, None] = field(default_factory=dict)
    """The jobs it holds leases of, in the order it got them."""

    @property
    def leases(self) -> int:
        """How many leases it holds."""
        return len(self.numbers)


class WorkerTable:
    """Workers, the one heard of longest ago first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._workers: OrderedDict[str, Worker] = OrderedDict()
        self.forgotten = 0
        """Workers dropped before their hour because there were too many."""

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def get(self, worker_id: str) -> Worker | None:
        return self._workers.get(worker_id)

    def seen(self, worker_id: str, now_ms: int) -> Worker:
        """The worker has just called."""
        worker = self._workers.get(worker_id)
        if worker is None:
            self._make_room(now_ms)
            worker = self._workers[worker_id] = Worker(worker_id, now_ms, now_ms)
        else:
            worker.last_seen = now_ms
            self._workers.move_to_end(worker_id)
        return worker

    def follow(self, moves: Iterable[Moves], now_ms: int) -> None:
        """Who claims a job was just heard of; who lets one go may have ended it well or badly."""
        for move in moves:
            if move.claims:
                self._claimed(move.jobs, now_ms)
            elif move.frees:
                completed, failed = move.target is COMPLETED, move.cause in _FAILURES
                for job in move.jobs:
                    # A job that was removed keeps its lease; of any other the last attempt says who had it.
                    worker = self._workers.get((job.lease or job.history[-1]).worker_id)
                    if worker is not None:
                        worker.numbers.pop(job.number, None)
                        worker.completed += completed
                        worker.failed += failed

    def _claimed(self, jobs: Iterable[Job], now_ms: int) -> None:
        worker: Worker | None = None
        for job in jobs:
            lease = job.lease
            assert lease is not None
            if worker is None or worker.id != lease.worker_id:
                worker = self.seen(lease.worker_id, now_ms)
            worker.numbers[job.number] = None
            worker.claimed += 1

    def holds(self, worker_id: str, number: int, now_ms: int) -> None:
        """The worker holds the lease of this job since before this leader began."""
        self.seen(worker_id, now_ms).numbers[number] = None

    def describe(self, worker_id: str, now_ms: int, types: Sequence[str], version: str = "", slots: int = 0) -> Worker:
        """The worker has just said what it takes."""
        worker = self.seen(worker_id, now_ms)
        worker.types = tuple(types)
        worker.version = version or worker.version
        worker.slots = slots or worker.slots
        return worker

    def serving(self, type_name: str, since_ms: int) -> Iterator[Worker]:
        """The workers heard of since then that take jobs of the type."""
        for worker in reversed(self._workers.values()):
            if worker.last_seen < since_ms:
                return
            if not worker.types or type_name in worker.types:
                yield worker

    def _make_room(self, now_ms: int) -> None:
        while self._workers:
            oldest = next(iter(self._workers.values()))
            full = len(self._workers) >= self._limit
            if not full and (oldest.leases or now_ms - oldest.last_seen < IDLE_MS_MAX):
                return
            self._workers.popitem(last=False)
            if full:
                self.forgotten += 1

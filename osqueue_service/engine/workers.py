"""Who works: what this leader has heard of each worker since it began to lead.

A worker is what all its lanes say together: its Work streams, and its claims for one set of types or another. None of
them is what it takes alone, whichever called last.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from msgspec import Struct, field

from osqueue_service.state.model import COMPLETED, Job
from osqueue_service.state.moves import Cause, Moves

IDLE_MS_MAX = 3_600_000
"""A worker that holds no lease and was not heard of for an hour is forgotten."""

LATELY_MS = 120_000
"""A worker, or a lane of its claims, that was not heard of for this long is not counted on: a long poll lasts half as
long."""

WORKER_LANES_MAX = 128
"""Sets of types that one worker's claims are remembered for; beyond it, the one heard of longest ago is forgotten."""

_FAILURES = (Cause.FAILED, Cause.EXPIRED, Cause.TIMED_OUT)


class Lane(Struct, eq=False):
    """What a worker takes by one stream, or by claims for the same types. No types: any. Claims do not say how many
    jobs they have room for (`slots` is 0). Compared by identity."""

    types: tuple[str, ...]
    said_at: int
    slots: int = 0
    draining: bool = False

    def takes(self, type_name: str) -> bool:
        return not self.types or type_name in self.types

    @property
    def size(self) -> int:
        """How many names it counts as."""
        return max(1, len(self.types))


class Worker(Struct):
    """One worker. Times are queue time (ms)."""

    id: str
    first_seen: int
    last_seen: int
    version: str = ""
    streams: list[Lane] = field(default_factory=list)
    """Its open Work streams."""
    claims: dict[tuple[str, ...], Lane] = field(default_factory=dict)
    """The lanes of its claims by their types, the one heard of longest ago first."""
    claimed: int = 0
    completed: int = 0
    failed: int = 0
    numbers: dict[int, str] = field(default_factory=dict)
    """The jobs it holds leases of, in the order it got them, and their types."""
    running: dict[str, int] = field(default_factory=dict)
    """How many jobs it holds of each type."""

    @property
    def leases(self) -> int:
        """How many leases it holds."""
        return len(self.numbers)

    @property
    def slots(self) -> int:
        """How many jobs its streams have room for together; 0 without any."""
        return sum(lane.slots for lane in self.streams)

    @property
    def draining(self) -> bool:
        """Every stream of it is being drained."""
        return bool(self.streams) and all(lane.draining for lane in self.streams)

    @property
    def types(self) -> tuple[str, ...]:
        """What it took when it was last heard of; empty for a worker that takes any type. Of one that has said nothing
        to this leader yet, the types of the jobs it holds."""
        since_ms = self.last_seen - LATELY_MS
        lanes = [*self.streams, *(lane for lane in self.claims.values() if lane.said_at >= since_ms)]
        if not all(lane.types for lane in lanes):
            return ()
        return tuple(dict.fromkeys(chain(self.running, *(lane.types for lane in lanes))))

    def takes(self, type_name: str, since_ms: int) -> bool:
        """Whether it takes jobs of the type, as far as it has said since then. What it runs it takes, however long ago
        it claimed that; a worker whose streams are all drained takes nothing."""
        if self.draining:
            return False
        return type_name in self.running or any(lane.takes(type_name) for lane in self._lanes(since_ms))

    def is_busy(self, type_name: str, since_ms: int) -> bool:
        """Whether it has as many jobs as it has room for in the lanes that take the type, as far as that can be told:
        claims are taken for a slot each."""
        lanes = [lane for lane in self._lanes(since_ms) if lane.takes(type_name)]
        types = {type_name, *chain.from_iterable(lane.types for lane in lanes)}
        everything = not all(lane.types for lane in lanes)
        held = self.leases if everything else sum(self.running.get(name, 0) for name in types)
        return held >= sum(max(lane.slots, 1) for lane in lanes)

    def _lanes(self, since_ms: int) -> Iterator[Lane]:
        """Those that take jobs: streams are open as long as they are, claims are those made since then."""
        yield from (lane for lane in self.streams if not lane.draining)
        yield from (lane for lane in self.claims.values() if lane.said_at >= since_ms)

    def took(self, job: Job) -> None:
        """It holds the lease of this job. Idempotent."""
        name = job.spec.type
        if job.number not in self.numbers:
            self.numbers[job.number] = name
            self.running[name] = self.running.get(name, 0) + 1

    def let_go(self, job: Job) -> None:
        """It holds the lease of this job no longer. Idempotent."""
        name = self.numbers.pop(job.number, None)
        if name is not None:
            if self.running[name] > 1:
                self.running[name] -= 1
            else:
                del self.running[name]


class WorkerTable:
    """Workers: those with an open stream, and the others, the one heard of longest ago first.

    `limit` bounds how many there are, `types_max` how many names of types their claims are remembered for.
    """

    def __init__(self, limit: int, types_max: int) -> None:
        self._limit = limit
        self._types_max = types_max
        self._types = 0
        self._lanes: OrderedDict[Lane, Worker] = OrderedDict()
        """The lanes of claims, the one heard of longest ago first, and whose each is."""
        self._connected: dict[str, Worker] = {}
        self._workers: OrderedDict[str, Worker] = OrderedDict()
        self.forgotten = 0
        """Workers dropped before their hour because there were too many."""

    def __len__(self) -> int:
        return len(self._workers) + len(self._connected)

    def __iter__(self) -> Iterator[Worker]:
        return chain(self._connected.values(), self._workers.values())

    def get(self, worker_id: str) -> Worker | None:
        return self._connected.get(worker_id) or self._workers.get(worker_id)

    def seen(self, worker_id: str, now_ms: int) -> Worker:
        """The worker has just called."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            self._workers.move_to_end(worker_id)
        else:
            worker = self._connected.get(worker_id)
        if worker is None:
            self._make_room(now_ms)
            worker = self._workers[worker_id] = Worker(worker_id, now_ms, now_ms)
        else:
            worker.last_seen = now_ms
        return worker

    def follow(self, moves: Iterable[Moves], now_ms: int) -> None:
        """Who claims a job was just heard of; who lets one go may have ended it well or badly."""
        for move in moves:
            if move.claims:
                self._claimed(move.jobs, now_ms)
            elif move.frees:
                self._let_go(move)

    def _let_go(self, move: Moves) -> None:
        completed, failed = move.target is COMPLETED, move.cause in _FAILURES
        worker: Worker | None = None
        asked = ""
        for job in move.jobs:
            # A job that was removed keeps its lease; of any other the last attempt says who had it.
            worker_id = (job.lease or job.history[-1]).worker_id
            if worker_id != asked:
                worker, asked = self.get(worker_id), worker_id
            if worker is not None:
                worker.let_go(job)
                worker.completed += completed
                worker.failed += failed

    def _claimed(self, jobs: Iterable[Job], now_ms: int) -> None:
        worker: Worker | None = None
        for job in jobs:
            lease = job.lease
            assert lease is not None
            if worker is None or worker.id != lease.worker_id:
                worker = self.seen(lease.worker_id, now_ms)
            worker.took(job)
            worker.claimed += 1

    def holds(self, worker_id: str, job: Job, now_ms: int) -> None:
        """The worker holds the lease of this job: it said so, or did when this leader began."""
        self.seen(worker_id, now_ms).took(job)

    def claims(self, worker_id: str, now_ms: int, types: Sequence[str], version: str = "") -> None:
        """The worker claims jobs of these types."""
        worker = self._introduced(worker_id, now_ms, version)
        self._claiming(worker, tuple(types), now_ms)

    def opened(self, worker_id: str, now_ms: int, types: Sequence[str], version: str = "", slots: int = 0) -> Lane:
        """The worker has opened a Work stream, which tells its lane what changes until it is closed."""
        worker = self._introduced(worker_id, now_ms, version)
        self._workers.pop(worker_id, None)
        self._connected[worker_id] = worker
        lane = Lane(tuple(types), now_ms, slots)
        worker.streams.append(lane)
        return lane

    def closed(self, worker_id: str, lane: Lane, now_ms: int) -> None:
        """The stream is closed. A worker that was not drained may open another: it counts as heard of just now."""
        worker = self._connected[worker_id]
        worker.streams.remove(lane)
        if not worker.streams:
            del self._connected[worker_id]
            self._workers[worker_id] = worker
        if not lane.draining:
            worker.last_seen = now_ms
            self._claiming(worker, lane.types, now_ms)

    def serving(self, type_name: str, since_ms: int) -> Iterator[Worker]:
        """The workers that are connected, or were heard of since then, and take jobs of the type."""
        for worker in self._connected.values():
            if worker.takes(type_name, since_ms):
                yield worker
        for worker in reversed(self._workers.values()):
            if worker.last_seen < since_ms:
                return
            if worker.takes(type_name, since_ms):
                yield worker

    def _introduced(self, worker_id: str, now_ms: int, version: str) -> Worker:
        worker = self.seen(worker_id, now_ms)
        worker.version = version or worker.version
        return worker

    def _claiming(self, worker: Worker, types: tuple[str, ...], now_ms: int) -> None:
        lane = worker.claims.get(types)
        if lane is not None:
            lane.said_at = now_ms
            self._lanes.move_to_end(lane)
            worker.claims[types] = worker.claims.pop(types)
            return
        lane = worker.claims[types] = Lane(types, now_ms)
        self._lanes[lane] = worker
        self._types += lane.size
        if len(worker.claims) > WORKER_LANES_MAX:
            self._drop(next(iter(worker.claims.values())))
        while self._types > self._types_max and len(self._lanes) > 1:
            self._drop(next(iter(self._lanes)))

    def _drop(self, lane: Lane) -> None:
        worker = self._lanes.pop(lane)
        del worker.claims[lane.types]
        self._types -= lane.size

    def _make_room(self, now_ms: int) -> None:
        while self._workers:
            oldest = next(iter(self._workers.values()))
            full = len(self) >= self._limit
            if not full and (oldest.leases or now_ms - oldest.last_seen < IDLE_MS_MAX):
                return
            del self._workers[oldest.id]
            for lane in list(oldest.claims.values()):
                self._drop(lane)
            if full:
                self.forgotten += 1

"""When leases expire. Heartbeats move these moments without a commit, so they are kept
beside the state: a new leader starts every live lease anew at full length.

All moments here are of the leader's monotonic clock; only answers speak in wall time.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from osqueue_service.state.deadlines import Deadlines
from osqueue_service.state.model import Lease
from osqueue_service.state.moves import Moves


class Progress(Struct, frozen=True, gc=False):
    """What a worker said of its job: a fraction in [0, 1], a message, and when (ms, queue time)."""

    fraction: float
    message: str
    updated_at: int


class LiveLease(Struct, gc=False):
    """One lease as it stands in memory. `heard_at` is queue time, `expires` monotonic.

    `filed` is the moment it is filed under, never later than `expires`: a heartbeat only raises `expires`, and
    the entry follows when its turn comes. So a heartbeat costs one assignment.
    """

    number: int
    token: str
    worker_id: str
    lease_ms: int
    expires: int
    filed: int
    heard_at: int
    progress: Progress | None = None


class LeaseTable:
    """All live leases by the moment at which they expire."""

    def __init__(self) -> None:
        self._leases: dict[int, LiveLease] = {}
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, number: int) -> LiveLease | None:
        return self._leases.get(number)

    def follow(self, moves: Iterable[Moves], monotonic: int, now_ms: int) -> None:
        """A job that is claimed has a lease from then on, until it is anything but in progress."""
        for move in moves:
            if move.claims:
                for job in move.jobs:
                    assert job.lease is not None
                    self.start(job.number, job.lease, monotonic, now_ms)
            elif move.frees:
                for job in move.jobs:
                    number = job.number
                    self._deadlines.remove(self._leases.pop(number).filed, number)

    def start(self, number: int, lease: Lease, monotonic: int, now_ms: int) -> None:
        """A lease begins, or begins anew after a takeover: it lives for its full length from now."""
        expires = monotonic + lease.lease_ms
        self._leases[number] = LiveLease(number, lease.token, lease.worker_id, lease.lease_ms, expires, expires, now_ms)
        self._deadlines.add(expires, number)

    def renew(self, number: int, monotonic: int, now_ms: int, progress: Progress | None) -> LiveLease:
        """A heartbeat: the lease lives for its full length from now."""
        lease = self._leases[number]
        lease.expires = monotonic + lease.lease_ms
        lease.heard_at = now_ms
        if progress is not None:
            lease.progress = progress
        return lease

    def expired(self, monotonic: int, limit: int) -> list[tuple[int, str]]:
        """Up to `limit` leases (number, token) that are over at this moment."""
        while True:
            due = list(islice(self._deadlines.due(monotonic), limit))
            renewed = [number for number in due if self._leases[number].expires > monotonic]
            if not renewed:
                return [(number, self._leases[number].token) for number in due]
            for number in renewed:
                self._refile(number)

    def next_expiry(self) -> int | None:
        """A moment before which no lease expires; None without leases."""
        return self._deadlines.next_ms()

    def __iter__(self) -> Iterator[LiveLease]:
        return iter(self._leases.values())

    def _refile(self, number: int) -> None:
        lease = self._leases[number]
        self._deadlines.remove(lease.filed, number)
        lease.filed = lease.expires
        self._deadlines.add(lease.filed, number)

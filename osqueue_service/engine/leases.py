"""When leases expire. Heartbeats move these moments without a commit, so they are kept
beside the state: a new leader starts every live lease anew at full length.

All moments here are of the leader's monotonic clock; only answers speak in wall time.
"""

from collections.abc import Iterable
from itertools import islice

from msgspec import Struct

from osqueue_service.state.index import Deadlines
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

    @property
    def expires_at(self) -> int:
        """When it expires, in queue time. What is told never goes back while heartbeats arrive."""
        return self.heard_at + self.lease_ms


class LeaseTable:
    """All live leases by the moment at which they expire."""

    def __init__(self) -> None:
        self.leases: dict[int, LiveLease] = {}
        """By the number of the job."""
        self._deadlines = Deadlines()
        self._anew_at: int | None = None
        """When all leases of that moment began anew. Each is told when its turn comes: there may be a million."""

    def get(self, number: int) -> LiveLease | None:
        lease = self.leases.get(number)
        if lease is not None and self._anew_at is not None:
            self._bring_up(lease)
        return lease

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
                    self._deadlines.remove(self.leases.pop(number).filed, number)

    def start(self, number: int, lease: Lease, monotonic: int, now_ms: int) -> None:
        """A lease begins, or begins anew after a takeover: it lives for its full length from now."""
        expires = monotonic + lease.lease_ms
        self.leases[number] = LiveLease(number, lease.token, lease.worker_id, lease.lease_ms, expires, expires, now_ms)
        self._deadlines.add(expires, number)

    def begin_anew(self, monotonic: int) -> None:
        """Every lease lives for its full length from now, as after a takeover. Costs the same for any number."""
        self._anew_at = monotonic

    def renew(self, number: int, monotonic: int, now_ms: int, progress: Progress | None) -> LiveLease:
        """A heartbeat: the lease lives for its full length from now."""
        lease = self.leases[number]
        lease.expires = monotonic + lease.lease_ms
        lease.heard_at = now_ms
        if progress is not None:
            lease.progress = progress
        return lease

    def file_anew(self, monotonic: int, limit: int) -> bool:
        """File those at the head of the order that were renewed since under their new moments, up to `limit` of them;
        whether there may be more."""
        for number in list(islice(self._deadlines.due(monotonic), limit)):
            lease = self.leases[number]
            self._bring_up(lease)
            if lease.expires <= monotonic:
                return False
            self._refile(lease)
        at = self._deadlines.next_ms()
        return at is not None and at <= monotonic

    def next_expiry(self) -> int | None:
        """A moment before which no lease expires; None without leases."""
        return self._deadlines.next_ms()

    def expired(self, monotonic: int, limit: int) -> list[tuple[int, str]]:
        """The leases (number, token) that are over at this moment, among the first `limit` that may be."""
        ended: list[tuple[int, str]] = []
        for number in list(islice(self._deadlines.due(monotonic), limit)):
            lease = self.leases[number]
            self._bring_up(lease)
            if lease.expires <= monotonic:
                ended.append((number, lease.token))
            else:
                self._refile(lease)
        return ended

    def _bring_up(self, lease: LiveLease) -> None:
        """Tell the lease that all began anew, if that was since it began or was renewed."""
        if self._anew_at is not None:
            lease.expires = max(lease.expires, self._anew_at + lease.lease_ms)

    def _refile(self, lease: LiveLease) -> None:
        self._deadlines.remove(lease.filed, lease.number)
        lease.filed = lease.expires
        self._deadlines.add(lease.filed, lease.number)

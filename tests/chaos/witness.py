"""Everything the bucket was ever told, seen on the way there: also what was deleted since."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from osqueue_service.engine.codec import decode_commit
from osqueue_service.log import Root, Segment, decode_root
from osqueue_service.log.paths import LOG_PREFIX, ROOT
from osqueue_service.log.segment import decode
from osqueue_service.state.model import Ending
from osqueue_service.state.records import AnyRecord, AttemptsEnded
from tests.chaos.http_messages import Message


@dataclass(frozen=True)
class Swap:
    """One write of the root: when its answer passed by, and what it says."""

    at_s: float
    root: Root


@dataclass
class Witness:
    """Watches the requests that the server answered, below one prefix of a bucket."""

    folder: str
    """`/bucket/prefix` as in the path of a request."""
    ring: Callable[[], None]
    log: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """Every object of the log that was created, and when (monotonic ms) its answer passed by."""
    swaps: list[Swap] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    expired: int = 0
    """Attempts whose lease ran out."""

    def applied(self, request: Message, status: int) -> None:
        """The server answered a request with this status."""
        if not request.path.startswith(self.folder):
            return
        key = request.path.removeprefix(self.folder)
        if request.method == "DELETE" and status < 300:
            self.deleted.add(key)
        elif request.method == "PUT" and status < 300:
            self._put(key, request.body)
        self.ring()

    def _put(self, key: str, body: bytes) -> None:
        if key.startswith(LOG_PREFIX):
            # Created once and never again: the condition of every put to the log.
            first, _ = self.log.setdefault(key, (body, time.monotonic() * 1_000))
            assert first == body, f"{key} was written twice, with different content"
            entry = decode(key, body).entry
            if isinstance(entry, Segment):
                self.expired += sum(map(_expired, decode_commit(entry.records).records))
        elif key == ROOT:
            root = decode_root(body)
            assert isinstance(root, Root)
            self.swaps.append(Swap(time.monotonic(), root))

    @property
    def epoch(self) -> int:
        """The highest epoch that took the root."""
        return max((swap.root.epoch for swap in self.swaps), default=0)

    def leader_of(self, epoch: int) -> str:
        """The gRPC address of the broker that took this epoch."""
        return next((swap.root.leader for swap in self.swaps if swap.root.epoch == epoch and swap.root.broker), "")


def _expired(record: AnyRecord) -> int:
    return sum(end.ending is Ending.EXPIRED for end in record.items) if isinstance(record, AttemptsEnded) else 0

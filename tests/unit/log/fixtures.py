"""What the tests of the log share: a settler over a memory bucket, and a way to fill a lane."""

from collections.abc import Callable, Sequence

from osqueue_service.log import Appender, Fence, LogCounters, Position, Segment, Settler
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import Fault, FaultKind, FaultyStore, ScriptedFaults
from tests.unit.log.virtual import SeededIds, VirtualClock

ME = "M" * 26
OTHER = "X" * 26
FENCE = Position(lane=3, sequence=7, hash=b"f" * 32)


def settler_over(
    bucket: MemoryBucket,
    *faults: Fault | FaultKind,
    where: Callable[[Operation, str], bool] = lambda operation, key: operation is not Operation.READ,
    put_ms: float = 10,
    read_ms: float = 2,
) -> Settler:
    """A settler whose requests meet `faults`, in order, where `where` says so."""
    clock = VirtualClock()
    store = FaultyStore(
        MemoryStore(bucket, clock=clock, put_ms=put_ms, read_ms=read_ms), clock, ScriptedFaults(faults, where)
    )
    return Settler(store, clock, SeededIds(1), LogCounters())


def appender_over(settler: Settler, *, depth: int = 4, fence: Position = FENCE) -> Appender:
    """The leader of epoch 3, behind its fence at sequence 7."""
    return Appender(settler, epoch=fence.lane, incarnation=ME, fence=fence, depth=depth)


def segment(after: Position, records: bytes = b"records", *, incarnation: str = ME, settled: int = 0) -> Segment:
    return Segment(after.lane, after.sequence + 1, incarnation, after.hash, settled, 1, records)


def fence(after: Position, epoch: int, *, incarnation: str = OTHER) -> Fence:
    return Fence(after.lane, epoch, after.sequence + 1, incarnation, after.hash)


def lay(bucket: MemoryBucket, entry: Segment | Fence) -> Position:
    """Put an entry straight into the bucket; the position after it."""
    encoded = entry.encode()
    bucket.overwrite(entry.key, encoded.body)
    return Position(entry.epoch, entry.sequence, encoded.hash)


class Recording:
    """A `Replayer` that notes what it is given."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.seed: tuple[list[bytes], int] | None = None
        self.applied: list[tuple[int, bytes]] = []
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1
        self.chunks, self.seed, self.applied = [], None, []

    def load(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def load_seed(self, jobs: Sequence[bytes], completed_total: int) -> None:
        self.seed = (list(jobs), completed_total)

    def apply(self, sequence: int, records: bytes, format: int) -> None:
        self.applied.append((sequence, records))

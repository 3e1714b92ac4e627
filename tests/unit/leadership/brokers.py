"""What the directed tests of leadership share: brokers over one memory bucket, and a hand on what they send."""

import asyncio
from collections.abc import Callable, Sequence

from osqueue_service.leadership import Addresses, Elector, Heartbeat, Term
from osqueue_service.log import Fence, Root, SeedQueue, Segment, decode_root
from osqueue_service.log.paths import ROOT, segment_key
from osqueue_service.log.segment import decode
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.store import ObjectStore, StoredObject
from osqueue_service.testing.faulty import FaultPlan, FaultyStore
from tests.unit.log.fixtures import Recording
from tests.unit.log.virtual import SeededIds, VirtualClock

HEARTBEAT = Heartbeat(interval_ms=3_000, timeout_ms=10_000, poll_ms=500)


class HeldStore:
    """Holds requests that `where` selects, before they are sent, until `go` is set; `asked` lists all of them."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.where: Callable[[str, str], bool] = lambda operation, key: False
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self.asked: list[tuple[str, str]] = []
        self.description = inner.description

    def hold(self, where: Callable[[str, str], bool]) -> None:
        self.where, self.go, self.reached = where, asyncio.Event(), asyncio.Event()

    def let_go(self) -> None:
        """Send what is held, and hold nothing more."""
        self.where = lambda operation, key: False
        self.go.set()

    async def _pass(self, operation: str, key: str) -> None:
        self.asked.append((operation, key))
        if self.where(operation, key):
            self.reached.set()
            await self.go.wait()

    async def read(self, key: str) -> StoredObject | None:
        await self._pass("read", key)
        return await self._inner.read(key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        await self._pass("put", key)
        return await self._inner.put_if_absent(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        await self._pass("swap", key)
        return await self._inner.put_if_version(key, body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        await self._pass("list", prefix)
        return await self._inner.list_after(prefix, after, limit)

    async def delete(self, key: str) -> None:
        await self._pass("delete", key)
        await self._inner.delete(key)

    async def close(self) -> None:
        return None


class TestBroker:
    """One broker over a shared bucket: its elector, its store and what it rebuilt."""

    __test__ = False

    def __init__(
        self,
        bucket: MemoryBucket,
        name: str,
        plan: FaultPlan | None = None,
        *,
        depth: int = 4,
        follow: bool = False,
        on_candidacy: Callable[[bool], None] = lambda begins: None,
        on_loaded: Callable[[], None] = lambda: None,
        around: ObjectStore | None = None,
    ) -> None:
        """`around`: a store over the bucket in place of the plain one."""
        clock = VirtualClock()
        self.faulty = FaultyStore(around or MemoryStore(bucket, clock=clock, put_ms=10, read_ms=5), clock, plan)
        self.store = HeldStore(self.faulty)
        self.state = Recording()
        self.elector = Elector(
            self.store,
            clock,
            SeededIds(sum(name.encode())),
            addresses=Addresses(f"http://{name}:8080", f"{name}:8081"),
            heartbeat=HEARTBEAT,
            depth=depth,
            follow=follow,
            on_candidacy=on_candidacy,
            on_loaded=on_loaded,
        )

    async def elect(self, **options: bool) -> Term:
        return await self.elector.elect(self.state, **options)


def kill(term: Term) -> None:
    """Stop all that a term does on its own, as a killed process would: nothing is written any more."""
    term._tenure.stop()


def root_of(bucket: MemoryBucket) -> Root:
    stored = bucket.get(ROOT)
    assert stored is not None
    root = decode_root(stored.body)
    assert not isinstance(root, SeedQueue)
    return root


def entry_at(bucket: MemoryBucket, lane: int, sequence: int) -> Segment | Fence | None:
    """What lies in a slot of the log."""
    key = segment_key(lane, sequence)
    stored = bucket.get(key)
    return None if stored is None else decode(key, stored.body).entry


def now_ms() -> float:
    return VirtualClock().monotonic_ms()


async def pass_ms(delay_ms: float) -> None:
    await asyncio.sleep(delay_ms / 1_000)

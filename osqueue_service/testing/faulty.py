"""A store that fails as real ones do, when a plan says so.

What goes wrong is drawn by a `FaultPlan`, time comes from a `Clock`: under a virtual clock
and a seeded plan every run is the same.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple, Protocol, TypeVar

from osqueue_service.clock import Clock
from osqueue_service.errors import StoreError, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage.keys import check_key, check_prefix
from osqueue_service.storage.operations import WRITES, Operation
from osqueue_service.storage.store import ObjectStore, StoredObject

T = TypeVar("T")


class FaultKind(Enum):
    """What a request may meet. The last three happen to writes only; a read that draws one fails before."""

    NONE = auto()
    UNAVAILABLE = auto()
    """Certainly not applied: `StoreUnavailable`."""
    FAIL_BEFORE = auto()
    """Lost on the way there: not applied, and the caller cannot know: `StoreUnknown`."""
    FAIL_AFTER = auto()
    """The answer is lost: applied where its condition holds, and `StoreUnknown` even where it does not."""
    LAND_LATE = auto()
    """`StoreUnknown` now; the request arrives after the fault's delay and is applied if its condition holds then."""
    REFUSED_AFTER = auto()
    """Applied, then repeated by something between, which meets the first try: `StoreRefused` for a put that is ours."""


class Fault(NamedTuple):
    """One request's fate. Every request waits `stall_ms` before it is sent; `late_ms` is LAND_LATE's delay."""

    kind: FaultKind = FaultKind.NONE
    stall_ms: float = 0
    late_ms: float = 0


NO_FAULT = Fault()


class FaultPlan(Protocol):
    """Decides each request's fate as it is made."""

    def next(self, operation: Operation, key: str) -> Fault: ...


class NoFaults:
    """Nothing goes wrong."""

    def next(self, operation: Operation, key: str) -> Fault:
        return NO_FAULT


class ScriptedFaults:
    """The given fates, in order, for the requests that `where` selects; then nothing goes wrong any more."""

    def __init__(
        self,
        faults: Iterable[Fault | FaultKind],
        where: Callable[[Operation, str], bool] = lambda _operation, _key: True,
    ) -> None:
        self._faults = deque(Fault(fault) if isinstance(fault, FaultKind) else fault for fault in faults)
        self._where = where

    def next(self, operation: Operation, key: str) -> Fault:
        if self._faults and self._where(operation, key):
            return self._faults.popleft()
        return NO_FAULT


class RandomFaults:
    """Fates drawn by `draw`, which returns numbers in [0, 1): pass a seeded source for a run that repeats.

    `rates` gives the probability of each kind, `stall_rate` that of a stall before it; stalls
    last up to `stall_ms_max`, late requests land within `late_ms_max`. The rates are plain
    attributes, to be changed while the store is in use (a partition, a quiet phase).
    """

    def __init__(
        self,
        draw: Callable[[], float],
        rates: Mapping[FaultKind, float],
        *,
        stall_rate: float = 0,
        stall_ms_max: float = 1_000,
        late_ms_max: float = 10_000,
    ) -> None:
        self._draw = draw
        self.rates = dict(rates)
        self.stall_rate = stall_rate
        self.stall_ms_max = stall_ms_max
        self.late_ms_max = late_ms_max

    def next(self, operation: Operation, key: str) -> Fault:
        stall_ms = self._draw() * self.stall_ms_max if self.stall_rate and self._draw() < self.stall_rate else 0.0
        left = self._draw()
        for kind, rate in self.rates.items():
            left -= rate
            if left < 0:
                return Fault(kind, stall_ms, self._draw() * self.late_ms_max if kind is FaultKind.LAND_LATE else 0.0)
        return Fault(FaultKind.NONE, stall_ms)


class FaultyStore:
    """An `ObjectStore` over another one, with the faults of a plan.

    Late requests outlive the caller, as they do in a network: they land even after `close`,
    unless `forget_late` is called. `met` counts the faults by operation and kind.
    """

    def __init__(self, inner: ObjectStore, clock: Clock, plan: FaultPlan | None = None) -> None:
        self._inner = inner
        self._clock = clock
        self.plan: FaultPlan = plan if plan is not None else NoFaults()
        self.met: Counter[tuple[Operation, FaultKind]] = Counter()
        self._late: set[asyncio.Future[None]] = set()

    @property
    def description(self) -> str:
        return f"{self._inner.description} with faults"

    @property
    def late_requests(self) -> int:
        """How many requests are on their way and not applied yet."""
        return len(self._late)

    def forget_late(self) -> None:
        """Lose all requests that are still on their way."""
        for task in tuple(self._late):
            task.cancel()

    async def read(self, key: str) -> StoredObject | None:
        return await self._request(Operation.READ, key, lambda: self._inner.read(key))

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self._request(Operation.PUT_IF_ABSENT, key, lambda: self._inner.put_if_absent(key, body))

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self._request(
            Operation.PUT_IF_VERSION, key, lambda: self._inner.put_if_version(key, body, version)
        )

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return await self._request(Operation.LIST, prefix, lambda: self._inner.list_after(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._request(Operation.DELETE, key, lambda: self._inner.delete(key))

    async def close(self) -> None:
        await self._inner.close()

    async def _request(self, operation: Operation, key: str, send: Callable[[], Awaitable[T]]) -> T:
        (check_prefix if operation is Operation.LIST else check_key)(key)
        kind, stall_ms, late_ms = self.plan.next(operation, key)
        if kind is not FaultKind.NONE:
            self.met[operation, kind] += 1
        if stall_ms > 0:
            await self._clock.sleep_ms(stall_ms)
        if kind is FaultKind.NONE:
            return await send()
        if kind is FaultKind.UNAVAILABLE:
            raise StoreUnavailable(f"{operation.value} {key}: turned away by plan")
        if operation in WRITES:
            if kind is FaultKind.LAND_LATE:
                self._send_late(late_ms, send)
            elif kind in (FaultKind.FAIL_AFTER, FaultKind.REFUSED_AFTER):
                await self._send_unheard(send)
                if kind is FaultKind.REFUSED_AFTER and operation is not Operation.DELETE:
                    raise StoreRefused(f"{operation.value} {key}: refused on its second try, by plan")
        raise StoreUnknown(f"{operation.value} {key}: lost by plan")

    async def _send_unheard(self, send: Callable[[], Awaitable[T]]) -> None:
        # The answer is lost, whatever it was.
        with suppress(StoreRefused, StoreUnknown, StoreUnavailable):
            await send()

    def _send_late(self, late_ms: float, send: Callable[[], Awaitable[T]]) -> None:
        async def land() -> None:
            await self._clock.sleep_ms(late_ms)
            # Nobody waits for this answer any more.
            with suppress(StoreError):
                await send()

        task = asyncio.ensure_future(land())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

"""The bucket of the simulated world, and how each node reaches it.

A request is sent, arrives, is applied, and is answered; each leg takes time and may fail.
What is on its way outlives the process that sent it: a put may land long after its sender
was killed. Nothing here is a task of the sender, so nothing here dies with it.

The bucket keeps the first body of every object ever created, and when it landed: the
whole history of the log, for the checkers, however much was cleaned up.
"""

import hashlib
import random
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from osqueue_service.errors import StoreDenied, StoreError, StoreFailed, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.log.paths import parse_segment_key
from osqueue_service.log.root import Root, SeedQueue, decode_root
from osqueue_service.log.segment import Fence, decode
from osqueue_service.storage.operations import WRITES, Operation
from osqueue_service.storage.store import StoredObject
from osqueue_service.testing.faulty import FaultKind
from tests.simulation.loop import Node, SimLoop

ROOT = "queue.json"
REQUEST_TIMEOUT_MS = 900.0
RAW_ERRORS = (OSError, KeyError, ValueError, RuntimeError, AttributeError, AssertionError, TimeoutError, MemoryError)
"""What client libraries raise instead of an answer."""


@dataclass(slots=True)
class Landed:
    """One object's first body, and when it came to be."""

    body: bytes
    at_ms: float


class Bucket:
    """The objects, and rules that no writer may break whatever it believes."""

    def __init__(self, loop: SimLoop, *, etags: bool = False) -> None:
        """`etags`: as on S3, the same bytes have the same version whenever they are written."""
        self._loop = loop
        self.etags = etags
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] = []
        self._writes = 0
        self.archive: dict[str, Landed] = {}
        self.root_history: list[tuple[float, Root]] = []
        self.broken: list[str] = []
        self.damaged: set[str] = set()
        """Objects that were not what they should be at some time."""
        self._whole: dict[str, StoredObject] = {}
        self.inherited: SeedQueue | None = None
        """What an earlier osqueue had left when the first leader took over."""

    def inherit(self, body: bytes) -> str:
        """Begin with the `queue.json` of an earlier osqueue."""
        return self._write(ROOT, body)

    def get(self, key: str) -> StoredObject | None:
        return self._objects.get(key)

    def objects(self) -> list[tuple[str, StoredObject]]:
        """What lies there now."""
        return list(self._objects.items())

    def create(self, key: str, body: bytes) -> str:
        if key in self._objects:
            raise StoreRefused(f"{key}: exists already")
        return self._write(key, body)

    def replace(self, key: str, body: bytes, version: str) -> str:
        current = self._objects.get(key)
        if current is None or current.version != version:
            raise StoreRefused(f"{key}: has another version")
        return self._write(key, body)

    def overwrite(self, key: str, body: bytes) -> str:
        """Without a condition: only planted bugs do so."""
        return self._write(key, body)

    def delete(self, key: str) -> None:
        found = self._objects.pop(key, None)
        if found is None:
            return
        del self._keys[bisect_left(self._keys, key)]
        self._whole.pop(key, None)
        if key.startswith("log/"):
            self._check_delete(key, self.archive[key].body)

    def list_after(self, prefix: str, after: str, limit: int) -> list[str]:
        start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
        return [key for key in self._keys[start : start + limit] if key.startswith(prefix)]

    def read_by_recoveries(self) -> list[tuple[str, bytes]]:
        """What a recovery would read, beside the root."""
        if not self.root_history:
            return []
        vouched = self.root_history[-1][1].checkpoint
        begins = f"checkpoints/{vouched.sequence:016d}-{vouched.epoch:010d}/"
        found = []
        for key, stored in self._objects.items():
            slot = parse_segment_key(key)
            if key.startswith(begins) or (slot is not None and slot > (vouched.epoch, vouched.sequence)):
                found.append((key, stored.body))
        return found

    def damage(self, key: str, body: bytes | None) -> None:
        """Behind everybody's back the object becomes this, or is lost."""
        self._whole.setdefault(key, self._objects[key])
        self.damaged.add(key)
        self._writes += 1
        if body is not None:
            self._objects[key] = StoredObject(body, f"damaged {self._writes}")
        else:
            del self._objects[key]
            del self._keys[bisect_left(self._keys, key)]

    def mend(self) -> None:
        """An operator puts everything back from a copy."""
        for key, whole in self._whole.items():
            if key not in self._objects:
                insort(self._keys, key)
            self._objects[key] = whole
        self._whole.clear()

    def _write(self, key: str, body: bytes) -> str:
        if key not in self._objects:
            insort(self._keys, key)
        self._writes += 1
        version = hashlib.md5(body, usedforsecurity=False).hexdigest() if self.etags else str(self._writes)
        self._objects[key] = StoredObject(body, version)
        if key == ROOT:
            self._check_root(body)
        elif key not in self.archive:
            self.archive[key] = Landed(body, self._loop.now_ms)
        elif key.startswith("checkpoints/") and body != self.archive[key].body:
            self.broken.append(f"rule 17: the checkpoint object {key} was written twice")
        return version

    def _check_delete(self, key: str, body: bytes) -> None:
        entry = decode(key, body).entry
        vouched = self.root_history[-1][1].checkpoint
        if isinstance(entry, Fence):
            self.broken.append(f"rule 12: the fence {key} was deleted")
        elif entry.lane >= vouched.epoch and entry.sequence > vouched.sequence:
            self.broken.append(f"rule 16: {key} was deleted, and the vouched checkpoint is {vouched.sequence}")

    def _check_root(self, body: bytes) -> None:
        root = decode_root(body)
        if isinstance(root, SeedQueue):
            if self.root_history:
                self.broken.append("rule 3: an earlier osqueue has written over the root")
            self.inherited = root
            return
        if self.root_history:
            before = self.root_history[-1][1]
            if root.epoch < before.epoch or (root.epoch == before.epoch and root.incarnation != before.incarnation):
                self.broken.append(f"rule 3: the root went from epoch {before.epoch} back to {root.epoch}")
            if root.checkpoint.sequence < before.checkpoint.sequence:
                self.broken.append(
                    f"rule 17: the root's checkpoint went from {before.checkpoint.sequence} "
                    f"back to {root.checkpoint.sequence}"
                )
        if root.checkpoint.form == "objects":
            ref = root.checkpoint
            key = f"checkpoints/{ref.sequence:016d}-{ref.epoch:010d}/00000"
            if key not in self.archive:
                self.broken.append(f"rule 15: the root names {key}, which was never written")
        self.root_history.append((self._loop.now_ms, root))


@dataclass(slots=True)
class Weather:
    """How requests fare at the moment, shared by all nodes. `rates` are probabilities per request."""

    rates: dict[FaultKind, float] = field(default_factory=dict)
    latency_ms: tuple[float, float] = (1.0, 10.0)
    stall_rate: float = 0.0
    stall_ms_max: float = 1_000.0
    late_ms_max: float = 10_000.0
    raw_errors: bool = False
    """Lost answers are told by whatever exception the client library happens to raise."""


class SimStore:
    """An `ObjectStore` as one node reaches it."""

    def __init__(
        self, bucket: Bucket, node: Node, weather: Weather, draw: random.Random, met: Counter[str],
        told: Callable[[str], None], sent: Callable[[Operation, str], None],
    ) -> None:  # fmt: skip
        self.bucket = bucket
        self.node = node
        self.weather = weather
        self.cut_off = False
        """The network between this node and the store is gone."""
        self.broken = False
        """The store has failed for good, as a disk does."""
        self.denies = False
        """It turns this node away, as it does when credentials roll or the node's clock is skewed."""
        self.stranger = False
        """It turned the node away where that had never been let in: no reason to be patient."""
        self._let_in: set[tuple[Operation, str]] = set()
        self._draw = draw
        self._met = met
        self._told = told
        self._sent = sent

    @property
    def description(self) -> str:
        return "simulated"

    async def read(self, key: str) -> StoredObject | None:
        found: StoredObject | None = await self._request(Operation.READ, key, lambda: self.bucket.get(key))
        return found

    async def put_if_absent(self, key: str, body: bytes) -> str:
        version: str = await self._request(Operation.PUT_IF_ABSENT, key, lambda: self.bucket.create(key, body))
        return version

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        new: str = await self._request(Operation.PUT_IF_VERSION, key, lambda: self.bucket.replace(key, body, version))
        return new

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        keys: list[str] = await self._request(
            Operation.LIST, prefix, lambda: self.bucket.list_after(prefix, after, limit)
        )
        return keys

    async def delete(self, key: str) -> None:
        await self._request(Operation.DELETE, key, lambda: self.bucket.delete(key))

    async def close(self) -> None:
        """Nothing to release."""

    # --- a request's way ---------------------------------------------------------------------------------------------

    def _request(self, operation: Operation, key: str, apply: Callable[[], Any]) -> Any:
        loop = self.node.loop
        answer = loop.create_future()
        if self.broken:
            answer.set_exception(StoreFailed(f"{operation.value} {key}: the device has failed"))
            return answer
        kind = self._fate(operation)
        now = loop.now_ms
        arrives = now + self._leg_ms()
        if kind is not FaultKind.NONE:
            self._met[f"store {operation.value} {kind.name.lower()}"] += 1
        self._told(f"{self.node.name} {operation.value} {key}" + ("" if kind is FaultKind.NONE else f" ({kind.name})"))
        if self.cut_off:
            self._answer_at(now + REQUEST_TIMEOUT_MS, answer, StoreUnknown(f"{operation.value} {key}: no route"))
        elif self.denies:
            self.stranger |= (operation, key.partition("/")[0]) not in self._let_in
            self._met["requests denied"] += 1
            self._answer_at(arrives, answer, StoreDenied(f"{operation.value} {key}: 403"))
        elif kind is FaultKind.UNAVAILABLE:
            retry_after = 500 if self._draw.random() < 0.3 else None
            self._answer_at(
                arrives, answer, StoreUnavailable(f"{operation.value} {key}: busy", retry_after_ms=retry_after)
            )
        elif kind is FaultKind.FAIL_BEFORE:
            late = self._draw.random() < 0.5
            self._answer_at(now + REQUEST_TIMEOUT_MS if late else arrives, answer, self._lost(operation, key))
        elif kind is FaultKind.LAND_LATE:
            loop.world.call_at_ms(now + self._draw.random() * self.weather.late_ms_max, self._land_late, apply)
            self._answer_at(now + self._leg_ms() * 2, answer, self._lost(operation, key))
        else:
            loop.world.call_at_ms(arrives, self._arrive, operation, key, kind, apply, answer)
        self._sent(operation, key)
        return answer

    def _fate(self, operation: Operation) -> FaultKind:
        weather = self.weather
        if not weather.rates:
            return FaultKind.NONE
        left = self._draw.random()
        for kind, rate in weather.rates.items():
            left -= rate
            if left < 0:
                if operation not in WRITES and kind is not FaultKind.UNAVAILABLE:
                    return FaultKind.FAIL_BEFORE
                if operation is Operation.DELETE and kind is FaultKind.REFUSED_AFTER:
                    return FaultKind.FAIL_AFTER
                return kind
        return FaultKind.NONE

    def _leg_ms(self) -> float:
        weather = self.weather
        low, high = weather.latency_ms
        leg = low + (high - low) * self._draw.random() ** 2
        if weather.stall_rate and self._draw.random() < weather.stall_rate:
            leg += self._draw.random() * weather.stall_ms_max
        return leg / 2

    def _arrive(self, operation: Operation, key: str, kind: FaultKind, apply: Callable[[], Any], answer: Any) -> None:
        value: Any
        try:
            value = apply()
        except StoreError as refusal:
            value = refusal
        if kind is FaultKind.REFUSED_AFTER:
            # Something between repeated the request, and met its own first try.
            value = StoreRefused(f"{key}: exists already")
        elif kind is FaultKind.FAIL_AFTER or self.cut_off:
            value = self._lost(operation, key)
        if not isinstance(value, Exception):
            arrived_ms = self.node.loop.now_ms
            answer.add_done_callback(lambda done: self._heard((operation, key.partition("/")[0]), arrived_ms))
        self._answer_at(self.node.loop.now_ms + self._leg_ms(), answer, value)

    def _heard(self, kind: tuple[Operation, str], arrived_ms: float) -> None:
        """The node knows that it is let in, unless it may have given the request up before it heard so."""
        if self.node.loop.now_ms - arrived_ms < REQUEST_TIMEOUT_MS:
            self._let_in.add(kind)

    def _land_late(self, apply: Callable[[], Any]) -> None:
        try:
            apply()
        except StoreError:
            self._met["late requests refused"] += 1
        else:
            self._met["late requests landed"] += 1

    def _lost(self, operation: Operation, key: str) -> Exception:
        if self.weather.raw_errors and self._draw.random() < 0.5:
            return self._draw.choice(RAW_ERRORS)(f"{operation.value} {key}: the client gave up")
        return StoreUnknown(f"{operation.value} {key}: the answer never came")

    def _answer_at(self, when_ms: float, answer: Any, value: Any) -> None:
        self.node.call_at_ms(when_ms, _settle, answer, value)


def _settle(answer: Any, value: Any) -> None:
    if answer.done():  # the caller is gone
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)

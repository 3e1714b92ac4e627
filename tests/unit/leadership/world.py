"""Several brokers over one bucket and a network that never forgets.

Any put, swap or delete ever sent may land again whenever its condition holds. A node that
is paused or killed is held at its next wait. After every change of the bucket the whole
queue is recovered from it, by a reader of its own, and compared with what was promised.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, NoReturn, TypeVar

from osqueue_service.clock import Timer
from osqueue_service.errors import (
    CorruptObject,
    Deposed,
    NotLeader,
    OutcomeUnknown,
    StorageUnavailable,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.leadership import Addresses, Elector, Heartbeat, Term
from osqueue_service.log import Fence, LogCounters, Root, decode_root
from osqueue_service.log import checkpoints as checkpoint_format
from osqueue_service.log.paths import ROOT, checkpoint_key, segment_key
from osqueue_service.log.segment import Decoded, decode
from osqueue_service.storage.store import StoredObject
from tests.unit.log.virtual import SeededIds, VirtualClock

T = TypeVar("T")

cached_decode: Callable[[str, bytes], Decoded] = lru_cache(maxsize=4_096)(decode)


class Violation(AssertionError):
    """Something was promised and not kept."""


class Write(NamedTuple):
    """A put (version None), a swap, or a delete (body None) as it travels."""

    key: str
    body: bytes | None
    version: str | None


@dataclass
class Weather:
    """What goes wrong, drawn once per schedule."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    unavailable: float = 0.0
    read_lost: float = 0.0
    late_landings_per_s: float = 0.0
    latency_ms: float = 10.0
    slow: float = 0.0
    """Share of requests that take thirty times as long."""

    faints: float = 0.0
    """Chance that a candidate is paused at a read of the log, and half of it that anyone is before a put there."""

    @classmethod
    def drawn(cls, rng: random.Random) -> "Weather":
        def maybe(most: float) -> float:
            return rng.random() * most if rng.random() < 0.6 else 0.0

        return cls(
            maybe(0.3), maybe(0.3), maybe(0.2), maybe(0.2), maybe(40), rng.choice((2, 10, 30)), maybe(0.1), maybe(0.2)
        )


@dataclass
class World:
    """The bucket, what was ever sent to it, and what was ever promised."""

    rng: random.Random
    weather: Weather
    objects: dict[str, StoredObject] = field(default_factory=dict)
    sent: list[Write] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    submitted: Counter[str] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)
    recovered: tuple[str, ...] = ()
    epochs: list[int] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    fault: BaseException | None = None

    def apply(self, write: Write) -> str:
        """Apply a write if its condition holds, and look at what a recovery would find after it."""
        there = self.objects.get(write.key)
        if write.body is None:
            self.objects.pop(write.key, None)
            version = ""
        else:
            if there is not None and there.version != write.version:
                raise StoreRefused(write.key)
            if there is None and write.version is not None:
                raise StoreRefused(write.key)
            # As on S3, the same bytes have the same version whenever they are written.
            version = sha256(write.body).hexdigest()[:16]
            self.objects[write.key] = StoredObject(write.body, version)
        self.check()
        return version

    def check(self) -> None:
        try:
            found = self.recover()
        except CorruptObject as corrupt:
            self.fail(f"no recovery is possible: {corrupt}")
        if found[: len(self.recovered)] != self.recovered:
            self.fail(f"recoveries disagree: {self.recovered} before, {found} after")
        if len(set(found)) != len(found):
            self.fail(f"applied twice: {found}")
        self.recovered = found
        missing = self.acknowledged.difference(found)
        if missing:
            self.fail(f"acknowledged and lost: {missing}")
        for command in self.refused.intersection(found):
            if self.submitted[command] == 1:
                self.fail(f"{command} was refused as not applied, and is recovered")

    def recover(self) -> tuple[str, ...]:
        """The commands that a recovery would find now."""
        stored = self.objects.get(ROOT)
        if stored is None:
            return ()
        root = decode_root(stored.body)
        assert isinstance(root, Root)
        commands = [] if root.checkpoint.form == "empty" else self._image(root)
        lane, sequence, chain = root.checkpoint.epoch, root.checkpoint.sequence, bytes.fromhex(root.checkpoint.hash)
        while True:
            key = segment_key(lane, sequence + 1)
            found = self.objects.get(key)
            if found is None:
                return tuple(commands)
            decoded = cached_decode(key, found.body)
            entry = decoded.entry
            if entry.previous_hash != chain:
                raise CorruptObject(key, "chain")
            lane, sequence, chain = entry.epoch, entry.sequence, decoded.hash
            if not isinstance(entry, Fence):
                commands += entry.records.decode().split()

    def _image(self, root: Root) -> list[str]:
        ref = root.checkpoint
        bodies: list[bytes | memoryview] = [root.state or b""]
        if ref.form == "objects":
            bodies = []
            for part in range(ref.parts):
                key = checkpoint_key(ref.sequence, ref.epoch, part)
                if key not in self.objects:
                    raise CorruptObject(key, "missing")
                bodies.append(checkpoint_format._open_part(key, self.objects[key].body, ref)[0])
        chunks = [c for body in bodies for c in checkpoint_format._unpack_chunks(ROOT, body, None)]
        return b"".join(chunks).decode().split()

    def acknowledge(self, command: str) -> None:
        if command not in self.recovered:
            self.fail(f"{command} is acknowledged and would not be recovered from {self.recovered}")
        self.acknowledged.add(command)

    def fail(self, why: str) -> NoReturn:
        self.fault = self.fault or Violation(why)
        raise self.fault

    async def haunt(self) -> None:
        """Let writes of any age arrive again."""
        while self.weather.late_landings_per_s:
            await asyncio.sleep(self.rng.expovariate(self.weather.late_landings_per_s))
            if self.sent:
                # Mostly recent ones: old ones rarely find their slot empty.
                span = len(self.sent) if self.rng.random() < 0.3 else min(12, len(self.sent))
                self._land_again(self.sent[-1 - self.rng.randrange(span)])

    def _land_again(self, write: Write) -> None:
        try:
            self.apply(write)
        except StoreRefused:
            return
        self.met["late landing"] += 1


class Node:
    """One process: held at every wait while it is paused, for ever once it is killed."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world = world
        self.name = name
        self.ids = SeededIds(seed)
        self.awake = asyncio.Event()
        self.awake.set()
        self.alive = True
        self.leads = False

    def nap(self, seconds: float) -> None:
        self.awake.clear()
        self.world.met["pause"] += 1
        asyncio.get_running_loop().call_later(seconds, self.resume)

    async def gate(self) -> None:
        while not self.awake.is_set():
            await self.awake.wait()

    def kill(self) -> None:
        self.alive = False
        self.awake.clear()

    def resume(self) -> None:
        if self.alive:
            self.awake.set()


class NodeClock(VirtualClock):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    async def sleep_ms(self, delay_ms: float) -> None:
        if delay_ms > 0 or not self._node.awake.is_set():
            await super().sleep_ms(delay_ms)
            await self._node.gate()

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        raise NotImplementedError


class NodeStore:
    """The bucket as one node reaches it."""

    description = "world"

    def __init__(self, node: Node) -> None:
        self._node = node
        self._world = node.world

    async def _travel(self) -> None:
        weather, rng = self._world.weather, self._world.rng
        slow = 30 if rng.random() < weather.slow else 1
        await asyncio.sleep(rng.random() * weather.latency_ms * slow / 1_000)

    async def _read(self, look: Callable[[], T], log: bool) -> T:
        await self._node.gate()
        if log and not self._node.leads and self._world.rng.random() < self._world.weather.faints:
            self._node.nap(self._world.rng.random() * 2)
            await self._node.gate()
        await self._travel()
        found = look()
        await self._travel()
        await self._node.gate()
        if self._world.rng.random() < self._world.weather.read_lost:
            raise StoreUnknown("read lost")
        return found

    async def _write(self, write: Write) -> str:
        world, weather = self._world, self._world.weather
        await self._node.gate()
        if write.key != ROOT and world.rng.random() < weather.faints / 2:
            self._node.nap(0.6 + world.rng.random() * 1.5)
            await self._node.gate()
        fate = world.rng.random()
        if fate < weather.unavailable:
            await self._travel()
            raise StoreUnavailable("turned away", retry_after_ms=20)
        fate -= weather.unavailable
        world.sent.append(write)
        await self._travel()
        if fate < weather.lost_before:
            raise StoreUnknown("lost before")
        outcome: str | StoreRefused
        try:
            outcome = world.apply(write)
        except StoreRefused as refused:
            outcome = refused
        await self._travel()
        await self._node.gate()
        if fate < weather.lost_before + weather.lost_after:
            raise StoreUnknown("lost after")
        if isinstance(outcome, StoreRefused):
            raise outcome
        return outcome

    async def read(self, key: str) -> StoredObject | None:
        return await self._read(lambda: self._world.objects.get(key), key != ROOT)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self._write(Write(key, body, None))

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self._write(Write(key, body, version))

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return await self._read(
            lambda: sorted(k for k in self._world.objects if k.startswith(prefix) and k > after)[:limit], True
        )

    async def delete(self, key: str) -> None:
        await self._write(Write(key, None, None))

    async def close(self) -> None:
        return None


class Commands:
    """A state that is the list of the commands applied to it; the `Replayer` of these tests."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self._chunks: list[bytes] = []

    def begin(self) -> None:
        self.applied = []

    def load(self, chunk: bytes) -> None:
        self.applied += chunk.decode().split()

    def load_seed(self, jobs: Sequence[bytes], completed_total: int) -> None:
        raise NotImplementedError

    def apply(self, sequence: int, records: bytes, format: int) -> None:
        self.applied += records.decode().split()


class Broker:
    """A node that stands by, leads, and serves commands and reads of its own making."""

    def __init__(self, node: Node, heartbeat: Heartbeat, depth: int, follow: bool) -> None:
        self.node = node
        self.world = node.world
        self.counters = LogCounters()
        self.term: Term | None = None
        self.state = Commands()
        self.released = 0
        """How many of the applied commands are durable."""
        self.clock = NodeClock(node)
        self.elector = Elector(
            NodeStore(node),
            self.clock,
            node.ids,
            addresses=Addresses(f"http://{node.name}", node.name),
            heartbeat=heartbeat,
            depth=depth,
            follow=follow,
            counters=self.counters,
        )

    async def live(self) -> None:
        while True:
            self.state = Commands()
            try:
                term = await self.elector.elect(self.state)
            except CorruptObject as corrupt:
                self.world.fail(f"{self.node.name} does not start: {corrupt}")
            else:
                await self._serve(term)

    async def _serve(self, term: Term) -> None:
        await self.node.gate()
        if term.epoch in self.world.epochs:
            self.world.fail(f"epoch {term.epoch} is led twice")
        self.world.epochs.append(term.epoch)
        self.released = len(self.state.applied)
        self.term = term
        self.node.leads = True
        await asyncio.gather(self.submit(f"first{term.epoch}"), self._maybe_checkpoint())
        reason = await term.lost
        self.term = None
        self.node.leads = False
        if not isinstance(reason, Deposed | NotLeader):
            self.world.fail(f"{self.node.name} halted: {reason!r}")

    async def submit(self, command: str) -> None:
        """Apply a command and acknowledge it when it is durable; a repeated one is answered by the first."""
        term, state = self.term, self.state
        if term is None or not term.appender.room:
            return
        if command in state.applied[: self.released]:
            self.world.met["deduplicated"] += 1
            self.world.acknowledge(command)
            return
        if command in state.applied:
            return
        self.world.submitted[command] += 1
        state.applied.append(command)
        length = len(state.applied)
        try:
            await term.appender.append(command.encode(), 1)
        except NotLeader:
            self.world.refused.add(command)
            return
        except OutcomeUnknown:
            self.world.met["unknown"] += 1
            return
        if self.state is state:
            self.released = max(self.released, length)
        self.world.acknowledge(command)
        self.world.met["acknowledged"] += 1

    async def read(self, linearizable: bool) -> None:
        term = self.term
        if term is None:
            return
        before = set(self.world.acknowledged)
        if linearizable:
            try:
                await term.confirm()
            except (NotLeader, StorageUnavailable):
                return
            if self.term is not term:
                return
        elif not term.is_live():
            return
        missing = before.difference(self.state.applied[: self.released])
        if missing:
            self.world.fail(f"a {'linearizable' if linearizable else 'leased'} read misses {missing}")
        self.world.met["linearizable read" if linearizable else "leased read"] += 1

    async def _maybe_checkpoint(self) -> None:
        if self.world.rng.random() < 0.8:
            await self.checkpoint()

    async def checkpoint(self) -> None:
        term = self.term
        if term is None or term.root.checkpoint.sequence >= term.appender.next_sequence - 1:
            return
        chunks = [f"{command} ".encode() for command in self.state.applied]
        try:
            await term.publish_checkpoint(term.appender.next_sequence - 1, chunks, 0)
        except (NotLeader, ValueError):
            return
        self.world.met["checkpoint"] += 1

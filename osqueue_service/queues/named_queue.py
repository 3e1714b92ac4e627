"""One queue with a name, from when this broker took it until that term ends."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec

from osqueue_service.clock import Clock
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import CorruptObject, NotLeader, StoreError
from osqueue_service.ids import IdSource
from osqueue_service.leadership import Addresses, Heartbeat, LentLease, Standbys, Term, lead_besides
from osqueue_service.limits import Limits
from osqueue_service.log import LogCounters, Root, Settler
from osqueue_service.log.root import NamedQueue as QueueSettings
from osqueue_service.queues.catalogue import Listed
from osqueue_service.queues.queue_store import QueueStore
from osqueue_service.storage import ObjectStore
from osqueue_service.storage.steady import Denials, SteadyStore
from osqueue_service.storage.throttled import undelayed

log = logging.getLogger(__name__)

REOPEN_MS = 50
"""When a caller whose queue was closed under its hands may ask again."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the queues of one broker have in common. `queue_clock` is what their own time goes by."""

    store: ObjectStore
    clock: Clock
    queue_clock: Clock
    ids: IdSource
    addresses: Addresses
    heartbeat: Heartbeat
    limits: Limits
    settings: EngineSettings
    depth: int
    retention_ms: int
    understood: frozenset[str]

    def settler(self, counters: LogCounters) -> Settler:
        """For the objects that no single queue owns."""
        return Settler(SteadyStore(undelayed(self.store), Denials(self.clock)), self.clock, self.ids, counters)

    def settlers(self, name: str, uid: str, counters: LogCounters) -> tuple[Settler, Settler]:
        """For one queue's objects: one that a throttle may hold up, and one that it does not."""
        denials = Denials(self.clock)

        def settler(store: ObjectStore) -> Settler:
            return Settler(QueueStore(SteadyStore(store, denials), name, uid), self.clock, self.ids, counters)

        return settler(self.store), settler(undelayed(self.store))


class NamedQueue:
    """A queue that this broker leads because it leads the default queue: it lives on that term's lease."""

    def __init__(
        self,
        host: Host,
        listed: Listed,
        term: Term,
        rebuild: Rebuild,
        *,
        counters: LogCounters,
        lent: LentLease,
        standbys: Standbys,
    ) -> None:
        self.name = listed.settings.name
        self.addresses = host.addresses
        self.understood = host.understood
        self.counters = counters
        self.calls = 0
        """Calls under way in it, streams and those that wait included."""
        self.used_ms = host.clock.monotonic_ms()
        """When the last one ended, or it was opened; by the monotonic clock."""
        self._clock = host.clock
        self.term = term
        self.standbys = term.standbys = standbys
        """Those that attend this broker: each would take this queue over with the default one."""
        max_jobs = listed.settings.max_jobs
        self.limits = replace(host.limits, jobs=min(max_jobs, host.limits.jobs)) if max_jobs else host.limits
        self._lent = lent
        self._rebuild = rebuild
        self._engine = Engine(
            term,
            rebuild.state,
            clock=host.queue_clock,
            callers_clock=host.clock,
            ids=host.ids,
            limits=self.limits,
            settings=host.settings,
        )
        self._engine.start()
        term.lost.listen(self._lost)

    @classmethod
    async def open(cls, host: Host, listed: Listed, lent: LentLease, standbys: Standbys) -> "NamedQueue":
        """Take the queue and read it. Raises `Deposed` when its root has moved on meanwhile; `lent.lost` ends it."""
        listed.root.require(host.understood)
        settings, counters = listed.settings, LogCounters()
        paced, settler = host.settlers(settings.name, listed.root.uid or "", counters)
        rebuild = Rebuild(host.understood, settings.name)
        term = await lead_besides(
            paced,
            settler,
            listed.root,
            listed.version,
            rebuild,
            lent=lent,
            addresses=host.addresses,
            heartbeat=host.heartbeat,
            depth=host.depth,
            retention_ms=host.retention_ms,
            wall_ms=host.queue_clock.wall_ms,
        )
        return cls(host, listed, term, rebuild, counters=counters, lent=lent, standbys=standbys)

    @property
    def engine(self) -> Engine:
        """The queue; `NotLeader` once it is led here no longer."""
        if self.term.lost.over:
            raise NotLeader(
                f"the queue {self.name} has just been closed: {self.term.lost.result()}",
                leader_address=self.addresses.grpc,
                retry_after_ms=REOPEN_MS,
            )
        return self._engine

    @property
    def is_leader(self) -> bool:
        return not self.term.lost.over

    @property
    def root(self) -> Root:
        return self.term.root

    @property
    def settings(self) -> QueueSettings:
        """What the queue's root says of it."""
        settings = self.term.root.queue
        assert isinstance(settings, QueueSettings)
        return settings

    @property
    def leader_address(self) -> str:
        return self.addresses.grpc if self.is_leader else ""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A call is under way in it."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self.used_ms = self._clock.monotonic_ms()

    @property
    def is_idle(self) -> bool:
        """Nobody calls, nothing waits, and nothing will happen by itself but forgetting, which can wait, too."""
        totals = self._engine.views.totals
        return not (self.calls or totals.live or (totals.schedules is not None and totals.schedules.count))

    async def close(self, leave: Callable[[Root], Root] | None = None) -> None:
        """Give every call its answer and end the term; nothing is answered from then on. `leave` is what the root
        becomes; without it, the root stays as it is and is taken by whoever opens the queue next."""
        await self._engine.stop()
        if leave is None:
            self.term.end(NotLeader(f"the queue {self.name} was closed"))
        else:
            await self.term.hand_over(leave)

    def end(self, reason: Exception) -> None:
        """The lease that this queue lives on is over."""
        self._lent.lost.set(reason)

    async def change(self, settings: QueueSettings) -> None:
        """Let the root say this of the queue. A changed `max_jobs` counts once the queue is opened again."""
        await self.term.change_root(lambda root: msgspec.structs.replace(root, queue=settings))

    def _lost(self, reason: Exception) -> None:
        self._engine.lose(leader_address="")
        asyncio.get_running_loop().call_soon(self._rebuild.begin)
        if isinstance(reason, CorruptObject | StoreError):
            log.error("the queue %s is led no longer: %s", self.name, reason)

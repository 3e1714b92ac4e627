"""One broker's life: standby, recovering, leader, fenced, and standby again.

A broker that lost its leadership stands by again in the same process, with a new
incarnation. It stops for good only when it is told to, or when its store can no longer be
trusted: then `failed` says why.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

from osqueue_service.clock import Clock
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import ClockAhead, CorruptObject, Deposed, NotLeader, StoreError, WrittenByNewer
from osqueue_service.ids import IdSource
from osqueue_service.leadership import DEFAULT_DEPTH, Addresses, Bar, Elector, GuardedClock, Heartbeat, Standbys, Term
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.log import LogCounters, Root
from osqueue_service.queues import Host, OpenQueues
from osqueue_service.state.features import UNDERSTOOD
from osqueue_service.storage import ObjectStore

log = logging.getLogger(__name__)

SUCCESSOR_LIMIT_MS = 20_000
"""How long a leader that is asked to leave serves on because the standbys that there are have yet to catch up. With the
two limits that come after it this stays below the 30 s after which most supervisors kill."""

HAND_OVER_LIMIT_MS = 5_000
"""How long a clean shutdown waits for the commits under way and for the root to say that nobody leads."""

WAY_OUT = (
    " (nothing was skipped and nothing changed: run `osqueue verify`, restore what it names, and start again; "
    "docs/operations/corrupt-object.md)"
)
"""What an operator reads after the name of a damaged object."""


class Role(Enum):
    """What a broker is doing."""

    STANDBY = "standby"
    OUTDATED = "outdated"
    """Standing by, and unable to take over: a later release wrote what is stored."""
    CLOCK_AHEAD = "clock_ahead"
    """Standing by, and unable to take over: this machine's clock is far ahead of the store's."""
    RECOVERING = "recovering"
    LEADER = "leader"
    STOPPED = "stopped"


class Broker:
    """A broker without a network: rpc/ serves its engine while it leads.

    `queue_clock`: what leases, delays and retention go by, where a test moves that by hand; leadership, storage and
    callers always have the `clock`. `sole_owner`: the store proves that no other broker lives (the lock of a
    directory), so that a takeover need not wait for anyone's silence. `follow`: read the log while standing by, which
    makes a takeover quick and costs a request for each commit. `retention_ms`: how long superseded checkpoints and
    their log are kept, for a way back in time. `on_loaded` is called when a large state has just
    been built: before it serves or, for a standby that follows, long before. `storage_requests` tells how many requests
    the store has had, for the figures. `store_time` tells the time by the store's clock, where it has one of its own: a
    broker whose own is far ahead of it does not lead, and no leader stamps what is further ahead. `watch` runs while
    this broker leads: it returns never, or raises what makes the store unfit, which stops the broker.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        addresses: Addresses,
        clock: Clock,
        queue_clock: Clock | None = None,
        ids: IdSource,
        heartbeat: Heartbeat | None = None,
        settings: EngineSettings | None = None,
        limits: Limits = DEFAULT_LIMITS,
        depth: int = DEFAULT_DEPTH,
        sole_owner: bool = False,
        follow: bool = True,
        retention_ms: int = 0,
        on_loaded: Callable[[], None] = lambda: None,
        on_role: Callable[[Role], None] = lambda role: None,
        storage_requests: Callable[[], int] = lambda: 0,
        store_time: Callable[[], int | None] = lambda: None,
        watch: Callable[[], Awaitable[None]] | None = None,
        understood: frozenset[str] = UNDERSTOOD,
    ) -> None:
        self.store = store
        self.addresses = addresses
        self.limits = limits
        self.role = Role.STOPPED
        self.counters = LogCounters()
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Resolves with the reason when this broker can do nothing more."""
        self._clock = clock
        self.guarded_clock = GuardedClock(clock, store_time, store.description)
        """This machine's clock, and how far it is ahead of the store's."""
        self._queue_clock = queue_clock or self.guarded_clock
        self._ids = ids
        self._settings = settings or EngineSettings()
        self._heartbeat = heartbeat or Heartbeat()
        self._sole_owner = sole_owner
        self._on_loaded = on_loaded
        self._on_role = on_role
        self._storage_requests = storage_requests
        self._watch = watch
        self.understood = understood
        """The features with which this broker may lead."""
        self.barred: Bar | None = None
        """What keeps this broker from leading: a later release wrote what is stored, or the clock is wrong."""
        self._elector = self._candidate(depth, follow, retention_ms)
        self.queues = OpenQueues(self._host(depth, retention_ms), self._not_leader)
        """The queues with names that this broker leads, all while it leads."""
        self._standbys: Standbys | None = None
        self._clearing_root = False
        self._handing_over: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._term: Term | None = None
        self._life: asyncio.Task[None] | None = None
        self._leading = asyncio.Event()
        self._stopping = False

    def _host(self, depth: int, retention_ms: int) -> Host:
        return Host(
            store=self.store,
            clock=self._clock,
            queue_clock=self._queue_clock,
            ids=self._ids,
            addresses=self.addresses,
            heartbeat=self._heartbeat,
            limits=self.limits,
            settings=self._settings,
            depth=depth,
            retention_ms=retention_ms,
            understood=self.understood,
        )

    def _candidate(self, depth: int, follow: bool, retention_ms: int) -> Elector:
        return Elector(
            self.store,
            self._clock,
            self._ids,
            addresses=self.addresses,
            heartbeat=self._heartbeat,
            depth=depth,
            follow=follow,
            retention_ms=retention_ms,
            wall_ms=self.guarded_clock.wall_ms,
            counters=self.counters,
            on_candidacy=lambda begins: self._enter(Role.RECOVERING if begins else Role.STANDBY),
            on_loaded=self._on_loaded,
            understood=self.understood,
            on_barred=self._on_barred,
            clock_fault=self.guarded_clock.find_fault,
        )

    @property
    def engine(self) -> Engine:
        """The queue, while this broker leads; `NotLeader` names the leader otherwise."""
        if self._engine is None:
            raise self._not_leader()
        return self._engine

    @property
    def root(self) -> Root:
        """The root as last known to be this leader's; `NotLeader` while it does not lead."""
        if self._term is None:
            raise self._not_leader()
        return self._term.root

    @property
    def standbys(self) -> Standbys:
        """Those that attend this leader; `NotLeader` while it does not lead."""
        if self._standbys is None:
            raise self._not_leader()
        return self._standbys

    @property
    def is_leader(self) -> bool:
        return self._engine is not None

    @property
    def epoch(self) -> int:
        """The epoch of the leader, as far as this broker knows; 0 when unknown."""
        return self._term.epoch if self._term is not None else self._elector.leader_epoch

    @property
    def leader_address(self) -> str:
        """Where the leader is; this broker's own address while it leads."""
        if self._engine is not None:
            return self.addresses.grpc
        leader = self._elector.leader
        return "" if leader == self.addresses.grpc else leader

    @property
    def followed(self) -> int:
        """The commit up to which this broker, standing by, has followed the log; 0 when nothing is ready, or when it
        could not take over, so that no leader leaves the queue to it."""
        return self._elector.followed if self.barred is None else 0

    def look(self, *, yours: bool = False) -> None:
        """Standing by: there is news of the leader, so look at the root now. `yours`: it has left the queue to us."""
        self._elector.look(yours=yours)

    def heard(self, sequence: int) -> None:
        """Standing by: the leader is at `sequence`."""
        self._elector.heard(sequence)

    def hasten(self, sequence: int) -> None:
        """Standing by: the leader, which is at `sequence`, is about to leave, and waits for a standby to be there."""
        self._elector.hasten(sequence, SUCCESSOR_LIMIT_MS)

    async def start(self, *, stand_by: bool = True) -> None:
        """Begin to stand by. Without `stand_by`, return once this broker leads, or raise `BrokerLeadershipError`
        when another is active."""
        if self._life is not None:
            raise RuntimeError("a broker is started once")
        self._enter(Role.STANDBY)
        self._life = asyncio.get_running_loop().create_task(self._live(stand_by), name="broker")
        if not stand_by:
            await self.leading()

    async def leading(self) -> None:
        """Return once this broker leads; raise what keeps it from ever doing so."""
        waiting = asyncio.get_running_loop().create_task(self._leading.wait())
        either: set[asyncio.Future[Any]] = {waiting, self.failed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.failed.done():
            raise self.failed.result()

    async def stop(self) -> None:
        """Step down in order, so that a standby takes over at once, and end. Idempotent."""
        self._stopping = True
        await self._hand_over()
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
        self._enter(Role.STOPPED)

    async def step_down(self) -> None:
        """Hand over to a standby, and stand by: for a full timeout even if nobody else takes over. A caller that is
        cancelled does not call it off."""
        await self._hand_over()

    async def _live(self, stand_by: bool) -> None:
        abstain_ms = 0.0
        try:
            while not self._stopping:
                reason = await self._serve_one_term(stand_by, abstain_ms)
                if not isinstance(reason, Deposed | NotLeader):
                    raise reason
                if self._stopping:
                    return
                log.warning("leadership ended: %s; standing by", reason)
                stand_by = True
                # Who stepped down on purpose leaves others the time to take over.
                abstain_ms = self._heartbeat.timeout_ms if isinstance(reason, NotLeader) else 0.0
        except Exception as reason:
            corrupt = isinstance(reason, CorruptObject)
            told = corrupt or isinstance(reason, WrittenByNewer | ClockAhead)
            log.critical("this broker stops: %s%s", reason, WAY_OUT if corrupt else "", exc_info=not told)
            self._enter(Role.STOPPED)
            if not self.failed.done():
                self.failed.set_result(reason)

    async def _serve_one_term(self, stand_by: bool, abstain_ms: float) -> Exception:
        """From standing by to the end of a term; returns why it ended."""
        self._enter(Role.STANDBY)
        rebuild = Rebuild(self.understood)
        term = await self._elector.elect(rebuild, stand_by=stand_by, skip_wait=self._sole_owner, abstain_ms=abstain_ms)
        followed = term.recovered.followed
        if not followed:
            self._on_loaded()
        engine = Engine(
            term,
            rebuild.state,
            clock=self._queue_clock,
            callers_clock=self._clock,
            ids=self._ids,
            limits=self.limits,
            settings=self._settings,
            storage_requests=self._storage_requests,
        )
        self._term, self._engine = term, engine
        standbys = self._standbys = term.standbys = Standbys(self._clock, self.limits.standbys)
        engine.start()
        self.queues.begin(term, standbys)
        self._leading.set()
        self._enter(Role.LEADER)
        log.info(
            "leading epoch %d after commit %d: %d live jobs, recovered from checkpoint %d and %d commits%s",
            term.epoch,
            engine.sequence,
            engine.views.totals.live,
            term.recovered.checkpoint.sequence,
            term.recovered.segments,
            f" behind commit {followed}, up to which it had followed the log" if followed else "",
        )
        watching = asyncio.get_running_loop().create_task(self._keep_watch(term), name="watch over the store")
        try:
            return await term.lost
        finally:
            watching.cancel()
            self._engine = self._term = self._standbys = None
            self._leading.clear()
            self.queues.end(term.lost.result() if term.lost.over else NotLeader("this broker stops"))
            engine.lose(leader_address=self.leader_address)
            if not self._clearing_root:  # else they look when that is done
                standbys.end()
            rebuild.begin()
            self._enter(Role.STANDBY)

    async def _keep_watch(self, term: Term) -> None:
        if self._watch is None:
            return
        try:
            await self._watch()
        except Exception as unfit:  # noqa: BLE001
            term.end(unfit)

    async def _hand_over(self) -> None:
        if self._handing_over is None or self._handing_over.done():
            self._handing_over = asyncio.get_running_loop().create_task(self._leave(), name="hand-over")
        # Shielded, because half a hand-over would be a leader that renews the root and serves nobody.
        await asyncio.shield(self._handing_over)

    async def _leave(self) -> None:
        engine, term, standbys = self._engine, self._term, self._standbys
        if engine is None or term is None or standbys is None:
            return
        await self._await_successor(engine, standbys)
        self._clearing_root = True
        try:
            await self._clock.within_ms(HAND_OVER_LIMIT_MS, self._finish(engine, term, self.queues))
        except TimeoutError:
            log.warning(
                "storage did not confirm the hand-over within %d ms; a standby takes over after its timeout",
                HAND_OVER_LIMIT_MS,
            )
            term.end(NotLeader("this broker is shutting down"))
        except (StoreError, CorruptObject) as trouble:
            # Safe: nobody else may lead before this broker has been silent for a timeout, and it is from now on.
            log.warning("the hand-over failed: %s; a standby takes over after its timeout", trouble)
            term.end(NotLeader("this broker is shutting down"))
        finally:
            self._clearing_root = False
            standbys.end()

    async def _await_successor(self, engine: Engine, standbys: Standbys) -> None:
        """Serve on until a standby has followed to the end of the log, if there is one that can."""
        began_ms = self._clock.monotonic_ms()
        successor = await standbys.successor(lambda: engine.sequence, SUCCESSOR_LIMIT_MS, frozenset(self.root.needs))
        waited_ms = self._clock.monotonic_ms() - began_ms
        if successor is not None:
            log.info(
                "%s has followed to commit %d of %d and can take over (waited %d ms for it)",
                successor.address, successor.followed, engine.sequence, waited_ms,
            )  # fmt: skip
        elif len(standbys):
            log.warning(
                "none of %d standbys was ready to take over after %d ms: the next leader has to catch up first",
                len(standbys), waited_ms,
            )  # fmt: skip

    @staticmethod
    async def _finish(engine: Engine, term: Term, queues: OpenQueues) -> None:
        await asyncio.gather(engine.stop(), queues.close())
        await term.hand_over()

    def _not_leader(self) -> NotLeader:
        leader = self.leader_address
        where = f"the leader is {leader}" if leader else "no leader is known yet"
        if self.barred is not None:
            where += f"; it cannot take over: {self.barred}"
        return NotLeader(f"this broker is {self.role.value}; {where}", leader_address=leader)

    def _on_barred(self, bar: Bar | None) -> None:
        self.barred = bar
        match bar:
            case None:
                self._enter(Role.STANDBY)
            case ClockAhead():
                log.critical("this broker stands by and cannot take over: %s (docs/operations/failover.md)", bar)
                self._enter(Role.CLOCK_AHEAD)
            case WrittenByNewer():
                log.critical("this broker stands by and cannot take over: %s (docs/operations/upgrading.md)", bar)
                self._enter(Role.OUTDATED)

    def _enter(self, role: Role) -> None:
        if role is not self.role:
            self.role = role
            self._on_role(role)

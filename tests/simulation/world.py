"""One simulated world: a bucket, brokers as they really are, and the processes that use them."""

import asyncio
import hashlib
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from osqueue_service.broker import Broker, Role
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import CorruptObject, StoreDenied, StoreError, StoreFailed
from osqueue_service.leadership import Addresses, Heartbeat
from osqueue_service.rpc.admin_service.pauses import Pauses
from osqueue_service.rpc.admin_service.purges import Purges
from osqueue_service.rpc.admin_service.step_down import StepDown
from osqueue_service.rpc.batch_service.cancellations import BatchCancellations
from osqueue_service.rpc.batch_service.openings import BatchOpenings
from osqueue_service.rpc.batch_service.reading import BatchReading
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.queue_service.cancellations import Cancellations
from osqueue_service.rpc.queue_service.explanations import Explanations
from osqueue_service.rpc.queue_service.retries import Retries
from osqueue_service.rpc.queue_service.updates import Updates
from osqueue_service.rpc.queue_service.watches import Watches
from osqueue_service.rpc.queue_service.work import Work
from osqueue_service.rpc.schedule_service.control import ScheduleControl
from osqueue_service.rpc.schedule_service.schedules import Schedules
from osqueue_service.rpc.workflow_service.cancellations import WorkflowCancellations
from osqueue_service.rpc.workflow_service.reading import WorkflowReading
from osqueue_service.rpc.workflow_service.submissions import WorkflowSubmissions
from osqueue_service.state.features import UNDERSTOOD
from osqueue_service.state.invariants import InvariantBroken, check, check_conservation, check_derived
from osqueue_service.state.state import State
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.throttled import Throttle, ThrottledStore
from tests.checkers.history import Event, History
from tests.followers import behind
from tests.simulation.clock import WALL_START_MS, SimClock, SimIds
from tests.simulation.inherited import OldBroker, adopted
from tests.simulation.loop import Node, SimLoop
from tests.simulation.network import Network
from tests.simulation.points import contents
from tests.simulation.shadow import Shadow
from tests.simulation.store import ROOT, Bucket, SimStore, Weather
from tests.simulation.swarm import Swarm, limits_of_a_life

AHEAD_MS_MAX = 15_000
"""How far the clock of a broker that leads may be ahead of the store's."""
STAMPED_LATE_MS = 2_000
"""Clocks run at rates of their own."""
SWEPT_LATE_MAX = 50
"""Finished jobs above a cap that wait for the sweep of a later commit."""


class SimBroker:
    """One broker of the cluster: a name that clients dial, and the process that lives there at the moment."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.broker: Broker | None = None
        self.dispatching: Work | None = None
        self.servicers: tuple[object, ...] = ()
        self.throttle: Throttle | None = None
        self.lives = 0
        self.started_ms = 0.0
        self.start()

    def start(self) -> None:
        """Begin a process."""
        self.lives += 1
        self.started_ms = self.world.loop.now_ms
        world = self.world
        draw = random.Random(f"{self.name}.{self.lives} {world.swarm.seed}")
        self.node = Node(world.loop, self.name)
        self.node.rate = draw.uniform(*world.swarm.clock_rates)
        self.store = SimStore(world.bucket, self.node, world.weather, draw, world.counts, world.note, self._sent)
        # Rolled out and rolled back at random; when the trouble is over, the operator starts the newest again.
        self.understood = frozenset() if self.is_old(draw) else UNDERSTOOD
        self.broker = self.dispatching = None
        self.servicers = ()
        self.ended = False
        self.node.spawn(self._live(draw), name="broker")

    def is_old(self, draw: random.Random) -> bool:
        """Whether the life that begins is of the earlier release."""
        return self.world.swarm.old_releases and not self.world.calm and draw.random() < 0.4

    async def _attend(self) -> None:
        """Attend whoever leads, as over gRPC; now and then not, as where brokers do not reach each other."""
        world = self.world
        draw = random.Random(f"attending {self.name}.{self.lives} {world.swarm.seed}")
        while True:
            await asyncio.sleep(draw.choice([0.05, 0.3, 2.0]))
            leader = next((one for one in world.brokers if one.leads and one is not self), None)
            if leader is None or leader.broker is None or self.broker is None or self.leads:
                continue
            standbys, release = leader.broker.standbys, "old" if not self.understood else "new"
            me = standbys.enter(self.name, self.broker.followed, release, self.understood)
            try:
                while leader.leads and leader.broker.standbys is standbys and not self.leads and self.node.alive:
                    await asyncio.sleep(0.2)
                    standbys.advance(me, self.broker.followed)
            finally:
                standbys.leave(me)

    async def _live(self, draw: random.Random) -> None:
        world, swarm = self.world, self.world.swarm
        interval_ms, timeout_ms, poll_ms = swarm.heartbeat_ms
        self.throttle = None if swarm.throttle is None else Throttle(swarm.throttle, SimClock(self.node))
        self.broker = broker = Broker(
            self.store if self.throttle is None else ThrottledStore(self.store, self.throttle),
            addresses=Addresses(broker=f"http://{self.name}", grpc=self.name),
            clock=SimClock(self.node),
            ids=SimIds(draw),
            heartbeat=Heartbeat(interval_ms, timeout_ms, poll_ms),
            settings=EngineSettings(commit_spacing_ms=swarm.spacing_ms, lapse_interval_ms=3_000),
            limits=limits_of_a_life(swarm.limits, draw) if swarm.uneven_limits else swarm.limits,
            depth=swarm.depth,
            sole_owner=swarm.sole_owner,
            retention_ms=swarm.retention_ms,
            store_time=world.store_time_ms if swarm.dated else lambda: None,
            on_role=lambda role: world.entered(self, role),
            understood=self.understood,
        )
        types = TypeNames(swarm.limits.type_chars)
        self.dispatching = Work(broker, types, SimIds(draw))
        self.servicers = (
            Cancellations(broker, types),
            Retries(broker, types),
            Updates(broker, types),
            Purges(broker, types),
            Pauses(broker, types),
            StepDown(broker),
            Watches(broker, types, SimClock(self.node)),
            Explanations(broker),
            Schedules(broker, types, SimClock(self.node)),
            ScheduleControl(broker),
            WorkflowSubmissions(broker, types),
            WorkflowCancellations(broker),
            WorkflowReading(broker),
            BatchOpenings(broker, types),
            BatchCancellations(broker),
            BatchReading(broker),
        )
        await broker.start()
        if swarm.old_releases:
            self.node.spawn(self._attend(), name="attendant")
        reason = await broker.failed
        world.note(f"{self.name} ends: {reason}")
        world.ended(self, reason)

    def _sent(self, operation: Operation, key: str) -> None:
        """A request has just left: a moment for an ambush."""
        self.world.ambush(self, operation, key)

    async def shut_down(self) -> None:
        """As on SIGTERM."""
        if self.broker is not None:
            await self.broker.stop()
        self.ended = True

    def kill(self) -> None:
        """As by kill -9."""
        self.node.kill()
        self.ended = True
        self.world.network.reset(self.node)

    @property
    def leads(self) -> bool:
        return self.node.alive and not self.ended and self.broker is not None and self.broker.is_leader


class World:
    """Everything of one run. `problems` collects what went wrong. Its trace is kept if `traced`, hashed if `hashed`."""

    def __init__(self, swarm: Swarm, *, traced: bool = False, hashed: bool = True) -> None:
        self.swarm = swarm
        self.loop = SimLoop(swarm.seed)
        self.loop.thread_ms = swarm.thread_ms
        self.ids = SimIds(random.Random(f"calls {swarm.seed}"))
        self.draw = random.Random(f"world {swarm.seed}")
        self.history = History()
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.trace: list[str] = []
        self._traced = traced
        self._hashed = hashed
        self.calm = False
        """The trouble is over: nothing fails any more, and nobody misbehaves."""
        self.over = False
        self.known_jobs: list[str] = []
        self.failovers: list[tuple[float, int]] = []
        """(when, epoch) of each takeover."""
        self.bucket = Bucket(self.loop, etags=swarm.etags)
        self.weather = Weather(
            latency_ms=swarm.latency_ms,
            stall_rate=swarm.stall_rate,
            late_ms_max=swarm.late_ms_max,
            raw_errors=swarm.raw_errors,
        )
        self.weather.rates = dict.fromkeys(swarm.store_faults, swarm.fault_rate)
        self.network = Network(random.Random(f"network {swarm.seed}"), swarm.network_ms)
        self.ambush: Callable[[SimBroker, Operation, str], None] = lambda broker, operation, key: None
        self._reserve = swarm.limits.reserve_jobs if swarm.behaviours.get("follow up") else 0
        self.engines: list[Engine] = []
        """Every engine that ever served, the latest last."""
        self._shadow = Shadow(self.bucket, self.inherited)
        self._hash = hashlib.blake2b(digest_size=16)
        if swarm.inherited_jobs is not None:
            OldBroker(self, swarm.inherited_jobs)
        self.brokers = [SimBroker(self, f"broker{number}") for number in range(swarm.brokers)]

    # --- what happens ------------------------------------------------------------------------------------------------

    def note(self, what: Event | str) -> None:
        """Something happened: it goes into the trace, and its hash."""
        if self.over:
            return
        if isinstance(what, Event) and what.operation == "submit" and what.outcome == "ok":
            self.known_jobs.append(what.job)
        if self._hashed or self._traced:
            line = f"{self.loop.now_ms:10.3f} {what}"
            self._hash.update(line.encode())
            if self._traced:
                self.trace.append(line)

    @property
    def trace_hash(self) -> str:
        """Equal for equal runs."""
        return self._hash.hexdigest()

    def inherited(self) -> State:
        """What the queue began with."""
        return adopted(self.bucket)

    def servicers_of(self, broker: Broker) -> tuple[object, ...]:
        """What serves the rare calls of this broker."""
        return next(one.servicers for one in self.brokers if one.broker is broker)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def failed(self, problem: str, error: BaseException | None = None) -> None:
        """Something is wrong with the product."""
        if error is not None and error.__traceback__ is not None:
            at = error.__traceback__
            while at.tb_next is not None:
                at = at.tb_next
            problem += f" at {at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
        self.problems.append(problem)
        self.note(f"PROBLEM {problem}")

    def surprised(self, message: str, *_: object) -> None:
        """Work that may wait has failed. What the store does is no surprise; anything else is a bug."""
        error = sys.exception()
        if error is not None and not isinstance(error, StoreError):
            self.failed(f"{message}: {error!r}", error)

    def entered(self, broker: SimBroker, role: Role) -> None:
        """A broker changed its role."""
        self.note(f"{broker.name} is {role.value}")
        if role is Role.OUTDATED:
            assert broker.broker is not None
            barred = broker.broker.barred
            if barred is None or barred.key != ROOT:
                self.failed(f"a feature was written that the root does not name: {barred}")
            elif broker.understood == UNDERSTOOD:
                self.failed(f"a broker of the newest release stands by: {barred}")
            self.count("brokers too old for the queue")
        if role is Role.LEADER:
            assert broker.broker is not None
            self.failovers.append((self.loop.now_ms, broker.broker.epoch))
            self.count("takeovers")

    # --- what engines show -------------------------------------------------------------------------------------------

    def recovered(self, term: Any, state: State) -> None:
        """A takeover has rebuilt the state: it must be the log's, byte for byte (rule 11)."""
        try:
            check(state)
            check_derived(state)
        except InvariantBroken as broken:
            self.failed(f"rule 11: epoch {term.epoch} recovered a state in which {broken}")
        replayed = self._shadow.at(term.epoch)
        if replayed is None:
            self.failed(f"rule 3: epoch {term.epoch} serves, but the log has no fence of it")
        elif contents(state) != contents(replayed):
            self.failed(f"rule 11: epoch {term.epoch} recovered another state than the log's")
        if term.recovered.checkpoint.form != "empty":
            self.count(f"recoveries from {term.recovered.checkpoint.form}")

    def committed(self, engine: Engine, commit: Any) -> None:
        """A commit is durable: jobs are conserved (rule 12), and everything is within its cap (rule 15)."""
        if not self.engines or self.engines[-1] is not engine:
            self.engines.append(engine)
        self.count("commits")
        state, limits = engine._state, self.swarm.limits
        try:
            check_conservation(state)
            if self.counts["commits"] % 64 == 0:
                check(state)
                check_derived(state)
        except InvariantBroken as broken:
            self.failed(f"rule 12: after commit {commit.sequence}: {broken}")
        if self.swarm.dated and state.stamp_ms > self.store_time_ms() + AHEAD_MS_MAX + STAMPED_LATE_MS:
            self.failed(f"clock: commit {commit.sequence} is stamped {state.stamp_ms}, at {self.store_time_ms()}")
        for problem in behind(engine):
            self.failed(f"rule 12: after commit {commit.sequence}: {problem}")
        for name, size, cap in (
            ("waiting_claims", engine.waiting_claims, limits.waiting_claims),
            ("jobs", state.live, limits.jobs + limits.dead_jobs + self._reserve),
            ("idempotency_keys", len(state.keys), limits.idempotency_keys),
            ("promised_jobs", state.promised_jobs, limits.promised_jobs),
            ("request_ids", len(state.requests), limits.request_ids + 200),
            ("finished_jobs", len(state.retention), limits.finished_jobs + SWEPT_LATE_MAX),
            ("dead_jobs", len(state.dead_retention), limits.dead_jobs + SWEPT_LATE_MAX),
            ("inbox_commands", engine.inbox_length, limits.inbox_commands + 20),
        ):
            if size > cap:
                self.failed(f"rule 15: {name} has {size} entries, the limit is {cap}")

    def store_time_ms(self) -> int:
        """By the store's own clock, which is right."""
        return WALL_START_MS + int(self.loop.now_ms)

    def ended(self, broker: SimBroker, reason: Exception) -> None:
        """A broker can do nothing more; an operator will start it again."""
        broker.ended = True
        if isinstance(reason, StoreFailed):
            self.count("brokers stopped by a failed store")
        elif isinstance(reason, CorruptObject) and reason.key in self.bucket.damaged:
            self.count("brokers stopped by damage")
        elif isinstance(reason, StoreDenied) and broker.store.stranger:
            self.count("brokers stopped by a store that never let them in")
        else:
            self.failed(f"{broker.name} stopped: {reason!r}", reason)

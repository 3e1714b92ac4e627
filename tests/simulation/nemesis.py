"""What goes wrong: one thing after another, each for a while."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from osqueue_service.state.features import UNDERSTOOD
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import FaultKind
from tests.damage.mutations import flip, mutated
from tests.simulation.actors import Actor, Operator
from tests.simulation.swarm import DAMAGE, WRONG_CLOCK
from tests.simulation.world import AHEAD_MS_MAX, SimBroker, World


def _ambush_rate(operation: Operation, key: str) -> float:
    """How dangerous the moment is."""
    if operation is Operation.PUT_IF_ABSENT:
        return 0.2 if key.startswith("checkpoints/") else 0.003
    return {Operation.PUT_IF_VERSION: 0.03, Operation.DELETE: 0.02, Operation.LIST: 0.05}.get(operation, 0.001)


class Nemesis:
    """Draws faults from those that this world's seed has switched on, and heals them again."""

    def __init__(self, world: World, actors: list[Actor]) -> None:
        self.world = world
        self.actors = actors
        self.draw = random.Random(f"nemesis {world.swarm.seed}")
        if "ambush" in world.swarm.nemeses:
            world.ambush = self._ambush
        self._faults: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "kill broker": self._kill_broker,
            "stop broker": lambda: self._freeze_broker(suspend=False),
            "suspend broker": lambda: self._freeze_broker(suspend=True),
            "cut broker from store": self._cut_broker,
            "cut clients from broker": self._cut_clients,
            "step down": self._step_down,
            "restart broker": self._restart_broker,
            "shift wall clock": self._shift_clock,
            WRONG_CLOCK: self._wrong_clock,
            DAMAGE: self._damage,
            "store brownout": self._brownout,
            "store slow": self._slow,
            "store gone": self._gone,
            "disk failure": self._disk_failure,
            "store denies": self._deny,
            "kill worker": lambda: self._kill_actor("worker"),
            "stop worker": self._stop_worker,
            "kill producer": lambda: self._kill_actor("producer"),
            "ambush": self._kill_broker,
        }

    def _ambush(self, broker: SimBroker, operation: Operation, key: str) -> None:
        """Freeze or kill a broker just when it has sent a request that much depends on. The request goes its way."""
        if self.world.calm or self.draw.random() >= _ambush_rate(operation, key):
            return
        self.world.note(f"NEMESIS ambush of {broker.name} at {operation.value} {key}")
        self.world.count("ambush")
        # Not within its own step: the process stops a moment later.
        self.world.loop.world.spawn(self._spring(broker), name="ambush")

    async def _spring(self, broker: SimBroker) -> None:
        if self.draw.random() < 0.4:
            broker.kill()
            await self.wait(self.a_while_ms())
            self.revive(broker)
        else:
            await self._freeze(broker, self.world.swarm.heartbeat_ms[1] * self.draw.choice([0.5, 1.5, 2.2]))

    async def _freeze(self, broker: SimBroker, ms: float, *, suspend: bool | None = None) -> None:
        """Stop the process for a while. Shortly before it goes on, somebody turns to it who has not heard of others."""
        node = broker.node
        node.stop(suspend=self.draw.random() < 0.5 if suspend is None else suspend)
        await self.wait(max(0.0, ms - 300))
        for actor in self.actors:
            if isinstance(actor, Operator):
                actor.node.spawn(actor.look_at(self.world.brokers.index(broker)), name="look")
        await self.wait(min(ms, 300))
        node.resume()

    async def run(self) -> None:
        """Until the world is calm."""
        world = self.world
        while world.swarm.nemeses:
            await self.wait(world.swarm.fault_every_ms * self.draw.expovariate(1.0))
            if world.calm:
                return
            name = self.draw.choice(world.swarm.nemeses)
            world.note(f"NEMESIS {name}")
            world.count(name)
            world.loop.world.spawn(self._faults[name](), name=name)

    def heal(self) -> None:
        """Everything works again, and everybody lives."""
        world = self.world
        world.weather.rates = {}
        world.weather.stall_rate = 0.0
        world.weather.latency_ms = world.swarm.latency_ms
        world.network.mend()
        world.bucket.mend()
        for broker in world.brokers:
            broker.store.cut_off = broker.store.broken = broker.store.denies = False
            broker.node.resume()
            if broker.node.wall_shift_ms > AHEAD_MS_MAX:
                broker.node.wall_shift_ms = 0.0
            if broker.understood != UNDERSTOOD:
                broker.kill()  # the newest release is started in its place
            self.revive(broker)
        for actor in self.actors:
            actor.node.resume()
            if not actor.node.alive:
                actor.start()

    def revive(self, broker: SimBroker) -> None:
        """An operator looks, and starts what is not running."""
        if broker.ended:
            broker.node.kill()
            broker.start()

    async def wait(self, ms: float) -> None:
        await asyncio.sleep(ms / 1_000)

    def a_broker(self) -> SimBroker:
        """The leader more often than not."""
        leaders = [broker for broker in self.world.brokers if broker.leads]
        if leaders and self.draw.random() < 0.7:
            return leaders[-1]
        return self.draw.choice(self.world.brokers)

    def a_while_ms(self) -> float:
        """Often shorter, often longer than a leader's timeout."""
        timeout_ms = self.world.swarm.heartbeat_ms[1]
        return timeout_ms * self.draw.choice([0.1, 0.5, 1.2, 2.5])

    async def _kill_broker(self) -> None:
        broker = self.a_broker()
        broker.kill()
        await self.wait(self.draw.choice([10.0, 1_000.0, self.a_while_ms()]))
        self.revive(broker)

    async def _freeze_broker(self, suspend: bool) -> None:
        timeout_ms = self.world.swarm.heartbeat_ms[1]
        await self._freeze(self.a_broker(), timeout_ms * self.draw.choice([0.2, 0.7, 1.6, 2.3]), suspend=suspend)

    async def _cut_broker(self) -> None:
        store = self.a_broker().store
        store.cut_off = True
        await self.wait(self.a_while_ms())
        store.cut_off = False

    async def _cut_clients(self) -> None:
        broker = self.a_broker()
        for actor in self.actors:
            if self.draw.random() < 0.6:
                self.world.network.cut(actor.name, broker.name)
        await self.wait(self.a_while_ms())
        self.world.network.mend()

    async def _step_down(self) -> None:
        broker = self.a_broker()
        if broker.broker is not None and broker.node.alive:
            broker.node.spawn(broker.broker.step_down(), name="step down")

    async def _restart_broker(self) -> None:
        broker = self.a_broker()
        if broker.broker is None or not broker.node.alive or broker.ended:
            return
        lives = broker.lives
        broker.node.spawn(broker.shut_down(), name="shut down")
        await self.wait(self.draw.choice([6_000.0, 8_000.0]))
        if broker.lives == lives:
            if not broker.ended and not broker.node.stopped:
                broker.kill()  # it was given enough time
            self.revive(broker)

    async def _shift_clock(self) -> None:
        node = self.a_broker().node
        node.wall_shift_ms += self.draw.choice([-3_600_000.0, -5_000.0, 2_000.0, 10_000.0])

    async def _wrong_clock(self) -> None:
        """Somebody sets a machine's clock far ahead, and corrects it later."""
        node = self.a_broker().node
        wrong_by = self.draw.choice([3_600_000.0, 86_400_000.0, 1e11])
        node.wall_shift_ms += wrong_by
        await self.wait(self.a_while_ms())
        if node.wall_shift_ms >= wrong_by:
            node.wall_shift_ms -= wrong_by

    async def _damage(self) -> None:
        """Something happens to an object, and most often brokers that must read it are started. A part of a checkpoint
        may be lost: what the log loses at its end, nobody can know. Brokers that stop over it are started again once it
        is mended."""
        bucket = self.world.bucket
        there = bucket.read_by_recoveries()
        if not there:
            return
        key, body = self.draw.choice(there)
        lost = key.startswith("checkpoints/") and self.draw.random() < 0.5
        # One bit is the hardest to see: most often it leaves what can be read, and says something else.
        bit = self.draw.randrange(8 * len(body))
        damaged = flip(body, bit) if self.draw.random() < 0.6 else mutated(body, self.draw)
        bucket.damage(key, None if lost else damaged)
        for broker in self.draw.choice([[], [self.a_broker()], self.world.brokers, self.world.brokers]):
            broker.kill()
            self.revive(broker)
        await self.wait(self.world.swarm.heartbeat_ms[1] * self.draw.choice([0.5, 1.5, 3.0]))
        bucket.mend()
        for broker in self.world.brokers:
            self.revive(broker)

    async def _brownout(self) -> None:
        weather = self.world.weather
        before, kinds = weather.rates, list(FaultKind)[1:]
        weather.rates = {kind: 0.15 for kind in kinds if self.draw.random() < 0.6}
        await self.wait(self.a_while_ms())
        weather.rates = {} if self.world.calm else before

    async def _slow(self) -> None:
        weather = self.world.weather
        weather.latency_ms = (100.0, 2_500.0)
        await self.wait(self.a_while_ms())
        weather.latency_ms = self.world.swarm.latency_ms

    async def _gone(self) -> None:
        weather = self.world.weather
        before = weather.rates
        weather.rates = {self.draw.choice([FaultKind.UNAVAILABLE, FaultKind.FAIL_BEFORE]): 1.0}
        await self.wait(self.a_while_ms())
        weather.rates = {} if self.world.calm else before

    async def _disk_failure(self) -> None:
        broker = self.a_broker()
        store = broker.store
        store.broken = True
        await self.wait(3_000.0)
        store.broken = False
        self.revive(broker)

    async def _deny(self) -> None:
        broker = self.a_broker()
        store = broker.store
        store.denies = True
        await self.wait(self.draw.choice([100.0, 2_000.0, self.a_while_ms()]))
        store.denies = False
        self.revive(broker)

    async def _kill_actor(self, role: str) -> None:
        actor = self.draw.choice([actor for actor in self.actors if actor.role == role])
        actor.node.kill()
        self.world.network.died(actor.node)
        await self.wait(self.draw.choice([100.0, 3_000.0]))
        if not actor.node.alive:
            actor.start()

    async def _stop_worker(self) -> None:
        node = self.draw.choice([actor for actor in self.actors if actor.role == "worker"]).node
        node.stop()
        await self.wait(self.draw.choice([1_000.0, 6_000.0]))
        node.resume()

"""Random lives of a cluster, each repeatable by its seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from osqueue_service.leadership import Heartbeat
from tests.unit.leadership.world import Broker, Node, Weather, World
from tests.unit.log.virtual import run

HEARTBEAT = Heartbeat(interval_ms=150, timeout_ms=500, poll_ms=60)
BROKERS_MAX = 6


def run_schedule(seed: int, *, events: int = 90, weather: Weather | None = None) -> Counter[str]:
    """Live through one schedule; raises what was violated. Returns how often what was met."""
    return run(_schedule(seed, events, weather))


async def _schedule(seed: int, events: int, weather: Weather | None) -> Counter[str]:
    rng = random.Random(seed)
    cluster = Cluster(rng, weather or Weather.drawn(rng))
    for _ in range(events):
        await asyncio.sleep(cluster.rng.expovariate(20))
        cluster.happen()
    await cluster.heal()
    return cluster.met()


class Cluster:
    """Brokers over one world, and the events of their lives."""

    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.rng = rng
        self.world = World(rng, weather)
        self.brokers: list[Broker] = []
        self.commands = 0
        self._depth = rng.choice((1, 2, 4))
        self._tasks: set[asyncio.Future[None]] = set()
        for _ in range(rng.choice((2, 3))):
            self._start()
        self._spawn(self.world.haunt())

    def happen(self) -> None:
        """One event, most likely at a leader."""
        self._stop_at_violation()
        rng, event = self.rng, self.rng.random()
        alive = [broker for broker in self.brokers if broker.node.alive]
        broker = rng.choice([broker for broker in alive if broker.term] or alive)
        if event < 0.62:
            for _ in range(rng.choice((1, 1, 3))):
                self._spawn(broker.submit(self._command()))
        elif event < 0.72:
            self._spawn(broker.read(rng.random() < 0.5))
        elif event < 0.82:
            self._spawn(broker.checkpoint())
        elif event < 0.92:
            rng.choice(alive).node.nap(rng.random() * 1.5)
        elif event < 0.94 and len(self.brokers) < BROKERS_MAX:
            broker.node.kill()
            self._start()
        elif event < 0.96 and broker.term:
            self._spawn(broker.term.hand_over())

    async def heal(self) -> None:
        """When the weather clears, somebody leads within a bounded time, and commits."""
        self.world.weather = Weather()
        for broker in self.brokers:
            broker.node.resume()
        for attempt in range(400):
            await asyncio.sleep(0.05)
            self._stop_at_violation()
            for broker in self.brokers:
                command = f"last{attempt}"
                if broker.term and broker.node.alive:
                    await asyncio.wait({asyncio.ensure_future(broker.submit(command))}, timeout=0.5)
                if command in self.world.acknowledged:
                    self.world.check()
                    return
        self.world.fail("nobody serves though the weather has cleared")

    def met(self) -> Counter[str]:
        """How often what happened."""
        met = Counter(self.world.met)
        met["epochs"] = len(self.world.epochs)
        for broker in self.brokers:
            met.update({name: getattr(broker.counters, name) for name in broker.counters.__slots__})
        return met

    def _command(self) -> str:
        if self.commands and self.rng.random() < 0.15:
            return f"c{self.rng.randrange(self.commands)}"  # sent again by a caller who does not know what became of it
        self.commands += 1
        return f"c{self.commands - 1}"

    def _start(self) -> None:
        node = Node(self.world, f"b{len(self.brokers)}", self.rng.getrandbits(32))
        self.brokers.append(Broker(node, HEARTBEAT, self._depth, follow=self.rng.random() < 0.7))
        self._spawn(self.brokers[-1].live())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.world.fault = self.world.fault or task.exception()

    def _stop_at_violation(self) -> None:
        if self.world.fault is not None:
            raise self.world.fault

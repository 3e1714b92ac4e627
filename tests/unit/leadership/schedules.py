"""Random lives of a cluster, each repeatable by its seed."""

import asyncio
import random
from collections import Counter

from osqueue_service.leadership import Heartbeat
from tests.unit.leadership.world import Broker, Node, Weather, World, spawn
from tests.unit.log.virtual import run

HEARTBEAT = Heartbeat(interval_ms=150, timeout_ms=500, poll_ms=60)


def run_schedule(seed: int, *, events: int = 90) -> Counter[str]:
    """Live through one schedule; raises what was violated. Returns how often what was met."""
    return run(_schedule(seed, events))


async def _schedule(seed: int, events: int) -> Counter[str]:
    rng = random.Random(seed)
    world = World(rng, Weather.drawn(rng))
    brokers: list[Broker] = []
    tasks: set[asyncio.Future[None]] = set()
    depth = rng.choice((1, 2, 4))

    def start() -> None:
        node = Node(world, f"b{len(brokers)}", rng.getrandbits(32))
        brokers.append(Broker(node, HEARTBEAT, depth))
        spawn(brokers[-1].live(), tasks)

    for _ in range(rng.choice((2, 3))):
        start()
    if world.weather.late_landings_per_s:
        spawn(world.haunt(), tasks)
    commands = 0
    for _ in range(events):
        await asyncio.sleep(rng.expovariate(1 / 0.05))
        if world.fault:
            raise world.fault
        alive = [broker for broker in brokers if broker.node.alive]
        broker = rng.choice([b for b in alive if b.term] or alive)
        event = rng.random()
        if event < 0.62:
            for _ in range(rng.choice((1, 1, 3))):
                again = rng.random() < 0.15 and commands
                command = f"c{rng.randrange(commands)}" if again else f"c{commands}"
                commands += not again
                spawn(broker.submit(command), tasks)
        elif event < 0.72:
            spawn(broker.read(rng.random() < 0.5), tasks)
        elif event < 0.82:
            spawn(broker.checkpoint(), tasks)
        elif event < 0.92:
            rng.choice(alive).node.nap(rng.random() * 1.5)
        elif event < 0.94 and len(brokers) < 6:
            broker.node.kill()
            start()
        elif event < 0.96 and broker.term:
            spawn(broker.term.hand_over(), tasks)
    await _heal(world, brokers, start, tasks)
    for broker in brokers:
        for name in broker.counters.__slots__:
            world.met[name] += getattr(broker.counters, name)
    world.met["epochs"] += len(world.epochs)
    return world.met


async def _heal(world: World, brokers: list[Broker], start: object, tasks: set["asyncio.Future[None]"]) -> None:
    """When the weather clears, somebody leads within a bounded time, and commits."""
    world.weather = Weather()
    for broker in brokers:
        broker.node.resume()
    if not any(broker.node.alive for broker in brokers):
        assert callable(start)
        start()
    for attempt in range(400):
        await asyncio.sleep(0.05)
        if world.fault:
            raise world.fault
        for broker in brokers:
            command = f"last{attempt}"
            if broker.term and broker.node.awake.is_set():
                await asyncio.wait({asyncio.ensure_future(broker.submit(command))}, timeout=0.5)
            if command in world.acknowledged:
                world.check()
                return
    world.fail("nobody serves though the weather has cleared")

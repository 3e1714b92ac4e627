"""A queue that an earlier osqueue left behind: its `queue.json`, its last heartbeats, its worker without tokens."""

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from osqueue.job import ClaimedJob
from osqueue_service.errors import StoreRefused
from osqueue_service.log.root import SeedQueue, decode_root
from osqueue_service.state.adoption import adopt
from osqueue_service.state.state import State
from tests.simulation.actors import Actor
from tests.simulation.clock import WALL_START_MS
from tests.simulation.store import ROOT, Bucket

if TYPE_CHECKING:
    from tests.simulation.world import World

WORKER = "inherited-worker"


def job(draw: random.Random, number: int, types: tuple[str, ...]) -> dict[str, Any]:
    """One job in the seed's shape."""
    shown: dict[str, Any] = {
        "id": f"inherited-{number}",
        "status": "unclaimed",
        "payload": f"inherited {number}",
        "createdAt": WALL_START_MS - 1_000 * (100 - number),
        "attempts": draw.choice([0, 0, 1]),
        "maxAttempts": draw.choice([2, 3]),
    }
    if kind := draw.choice(types):
        shown["type"] = kind
    if draw.random() < 0.3:
        shown |= {"status": "in_progress", "workerId": WORKER, "heartbeat": WALL_START_MS - 500}
        shown["attempts"] += 1
    return shown


class OldBroker:
    """The broker of an earlier osqueue: it writes the whole queue again and again, until it dies or meets another."""

    def __init__(self, world: "World", jobs: int) -> None:
        self._world = world
        self._draw = random.Random(f"inherited {world.swarm.seed}")
        self._jobs = [job(self._draw, number, world.swarm.types) for number in range(jobs)]
        self._completed = self._draw.randrange(1_000)
        self._version = world.bucket.inherit(self._body())
        world.loop.world.spawn(self._live(self._draw.choice([0, 1_500, 4_000])), name="old broker")

    async def _live(self, for_ms: float) -> None:
        world = self._world
        ends_ms = world.loop.now_ms + for_ms
        while world.loop.now_ms < ends_ms:
            await asyncio.sleep(0.4)
            if self._jobs and self._draw.random() < 0.5:
                self._jobs.pop(0)
                self._completed += 1
            try:
                self._version = world.bucket.replace(ROOT, self._body(), self._version)
            except StoreRefused:
                return  # another has taken over

    def _body(self) -> bytes:
        shown = {
            "broker": "http://old:8080",
            "brokerHeartbeat": WALL_START_MS + int(self._world.loop.now_ms),
            "jobs": self._jobs,
            "completedTotal": self._completed,
        }
        return json.dumps(shown).encode()


class InheritedWorker(Actor):
    """Finishes what it had begun under the earlier broker. It knows no tokens."""

    role = "inherited worker"

    async def run(self) -> None:
        found = self.world.bucket.get(ROOT)
        assert found is not None
        inherited = decode_root(found.body)
        for text in inherited.jobs:
            shown = json.loads(bytes(text))
            if shown.get("workerId") != WORKER:
                continue
            held = ClaimedJob(
                job_id=shown["id"], worker_id=WORKER, payload=b"", type="", lease_token="", attempt=1, lease_ms=2_000
            )
            await self.pause(self.draw.uniform(100, 3_000))
            await self.attempt(self.client.heartbeat(held))
            if not self.chance("vanish"):
                self.world.count("inherited attempts ended")
                await self.attempt(self.client.complete_job(held, b'"done without a token"'))


def adopted(bucket: Bucket) -> State:
    """What the log of this queue begins with: nothing, or what was inherited."""
    state = State()
    if bucket.root_history and isinstance(bucket.inherited, SeedQueue):
        seed = bucket.inherited
        adopt(state, [bytes(one) for one in seed.jobs], seed.completed_total)
    return state

"""An engine on a bench: virtual time, and a log whose puts land when the test says so."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from types import SimpleNamespace
from typing import Any

from osqueue_service.engine.codec import replay
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import NotLeader, OutcomeUnknown
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.log.root import CONTENT_FORMAT
from osqueue_service.state import image
from osqueue_service.state.commands import Claim, Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.state.state import State
from tests.simulation.clock import SimClock, SimIds
from tests.simulation.loop import SimLoop


class BenchLane:
    """Puts take `put_ms`; while `held` they land only when told."""

    def __init__(self, clock: SimClock, depth: int) -> None:
        self.depth = depth
        self.put_ms = 10.0
        self.held = False
        self.bodies: list[bytes] = []
        self._clock = clock
        self._flights: list[asyncio.Future[int]] = []
        self._numbers = itertools.count(1)
        self._next = 1
        self.over = False

    @property
    def next_sequence(self) -> int:
        return self._next

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def room(self) -> bool:
        return len(self._flights) < self.depth and not self.over

    @property
    def latency_ms(self) -> float:
        return self.put_ms

    def append(self, records: bytes, count: int) -> "asyncio.Future[int]":
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._next += 1
        self.bodies.append(records)
        self._flights.append(answer)
        if not self.held:
            self._clock.call_later_ms(self.put_ms, self._land_unless_held)
        return answer

    def _land_unless_held(self) -> None:
        if not self.held:
            self.land()

    def land(self, count: int = 1) -> None:
        """The oldest puts under way are durable."""
        for _ in range(count):
            if self._flights:
                self._flights.pop(0).set_result(next(self._numbers))

    def land_all(self) -> None:
        self.land(len(self._flights))

    def end(self) -> None:
        """The lane is over: whatever was under way may have landed or not."""
        self.over = True
        for flight in self._flights:
            flight.set_exception(OutcomeUnknown("the lane has ended"))
        self._flights.clear()


class BenchTerm:
    """A term that leads until told otherwise."""

    epoch = 1

    def __init__(self, clock: SimClock, depth: int) -> None:
        self._clock = clock
        self.appender = BenchLane(clock, depth)
        self.root = SimpleNamespace(
            checkpoint=SimpleNamespace(form="empty", sequence=0, format=CONTENT_FORMAT), needs=()
        )
        self.live_until_ms = float("inf")
        self.live = True
        self.lapses = 0
        self.leads = True
        self.due = False
        self.published: list[tuple[int, list[bytes]]] = []
        self.confirmations = 0
        self.ended: list[Exception] = []
        self.between_parts: Callable[[], None] = lambda: None

    async def switch_on(self, features: Iterable[str]) -> None:
        self.root.needs = tuple({*self.root.needs, *features})

    def is_live(self) -> bool:
        return self.lease_left_ms() > 0

    def lease_left_ms(self) -> float:
        return min(self.live_until_ms - self._clock.monotonic_ms(), 3_600_000.0) if self.live else 0.0

    async def confirm(self) -> None:
        self.confirmations += 1
        await asyncio.sleep(0.005)
        if not self.leads:
            raise NotLeader("another broker leads")

    def checkpoint_due(self) -> bool:
        return self.due

    def end(self, reason: Exception) -> None:
        self.ended.append(reason)

    async def publish_checkpoint(self, sequence: int, image: AsyncIterable[bytes], completed_total: int) -> None:
        parts = []
        async for part in image:
            parts.append(part)
            self.between_parts()
            await asyncio.sleep(0.001)
        self.due = False
        self.published.append((sequence, parts))


class Bench:
    """One engine, and short words for what tests ask of it."""

    def __init__(self, loop: SimLoop, limits: Limits, depth: int, settings: EngineSettings) -> None:
        self.loop = loop
        self.clock = SimClock(loop.world)
        self.limits = limits
        self.term = BenchTerm(self.clock, depth)
        self.lane = self.term.appender
        self.state = State()
        self.engine = Engine(
            self.term, self.state, clock=self.clock, ids=SimIds(random.Random(1)), limits=limits, settings=settings
        )

    def later(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin something without waiting for it."""
        return asyncio.get_running_loop().create_task(work)

    async def pass_ms(self, ms: float) -> None:
        await asyncio.sleep(ms / 1_000)

    async def submit(self, count: int = 1, **fields: Any) -> list[str]:
        specs = [JobSpec(fields.pop("type", ""), b"{}", **fields)] * count
        return [answer.job_id for answer in await self.engine.execute(Submit(specs))]

    async def claim(self, worker_id: str = "w", wait_ms: int = 0, **fields: Any) -> Any:
        return await self.engine.claim(Claim(worker_id, **fields), wait_ms)

    def rebuilt(self) -> State:
        """What a recovery would make of the commits so far."""
        state = State()
        for body in self.lane.bodies:
            replay(state, body)
        return state

    def check_log(self) -> None:
        """The log holds all that the engine's state does."""
        assert image.encode(self.rebuilt()) == image.encode(self.state)


def on_bench(
    test: Callable[[Bench], Coroutine[Any, Any, None]],
    *,
    limits: Limits = DEFAULT_LIMITS,
    depth: int = 4,
    settings: EngineSettings | None = None,
) -> None:
    """Run the test on a bench of its own, to its end; nothing may be left uncaught."""
    loop = SimLoop(1)

    async def main() -> None:
        bench = Bench(loop, limits, depth, settings or EngineSettings())
        bench.engine.start()
        await bench.pass_ms(50)
        await test(bench)

    task = loop.world.spawn(main())
    loop.run(task.done)
    try:
        task.result()
        assert not loop.failures and not loop.unseen_errors(), [*loop.failures, *loop.unseen_errors()]
    finally:
        loop.dispose()

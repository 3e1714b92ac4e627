"""The product as a simulated world has it: looked at from outside, and with small constants."""

import itertools
import random
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

from osqueue import retrying, session
from osqueue.calls import reading
from osqueue_service import broker as broker_module
from osqueue_service.engine import checkpointing
from osqueue_service.engine import engine as engine_module
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.views import Views
from osqueue_service.errors import FeatureUnavailable
from osqueue_service.leadership import guarded_clock
from osqueue_service.leadership import term as term_module
from osqueue_service.log import checkpoints
from osqueue_service.rpc.queue_service import work
from osqueue_service.rpc.queue_service.work_session import WorkSession
from osqueue_service.state import image
from osqueue_service.state.commands import Cancel, PauseTypes, Purge, ResumeTypes, Retry
from osqueue_service.state.records import By
from osqueue_service.state.state import State
from tests.simulation.world import AHEAD_MS_MAX, World


class _SimEngine(Engine):
    """The engine as it is, looked at whenever it is made and whenever a commit is durable."""

    watched_by: World

    def __init__(self, term: Any, state: State, **fields: Any) -> None:
        self.watched_by.recovered(term, state)
        super().__init__(term, state, **fields)

    async def execute(self, command: Any, size: int = 0) -> Any:
        """As it is; but where brokers are of two releases, those of the later one say who asked, once they may."""
        world = self.watched_by
        leader = next((one for one in world.brokers if one.broker is not None and one.broker._engine is self), None)
        knows = leader is not None and world.swarm.old_releases and leader.understood
        if knows and isinstance(command, Cancel | Retry | Purge | PauseTypes | ResumeTypes):
            command.by = By("operator")
            try:
                answer = await super().execute(command, size)
            except FeatureUnavailable:
                world.count("features refused")
                command.by = None
            else:
                world.count("features used")
                return answer
        return await super().execute(command, size)

    def _released(self, commit: Any) -> None:
        super()._released(commit)
        self.watched_by.committed(self, commit)


class _SimViews(Views):
    """The views as they are, looked at whenever they are read."""

    watched_by: World

    async def read(self, view: Any, *, linearizable: bool = False) -> Any:
        live = linearizable or self._term.is_live()
        answer = await super().read(view, linearizable=linearizable)
        if not live:
            self.watched_by.failed("a read was served though the leader's own lease on the root was over")
        return answer


class _SimSession(WorkSession):
    """A Work session as it is, looked at whenever it says something of a lease without a commit."""

    watched_by: World

    def _renewed(self, renewal: Any) -> Any:
        if not self._engine.term.is_live():
            self.watched_by.failed("a Work stream spoke of leases though its leader's own lease on the root was over")
        return super()._renewed(renewal)


def patched(world: World) -> ExitStack:
    """The product's constants as this world has them: small sizes, so that rare paths are common; and the SDK's own
    clock and dice, which it does not take from outside."""
    stack, swarm, loop = ExitStack(), world.swarm, world.loop

    def put(module: Any, name: str, value: Any) -> None:
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        stack.enter_context(mock.patch.object(module, name, value))

    put(term_module, "INLINE_BYTES_MAX", swarm.inline_bytes)
    put(guarded_clock, "CLOCK_AHEAD_LIMIT_MS", AHEAD_MS_MAX)
    put(term_module, "CHECKPOINT_FLOOR_BYTES", swarm.checkpoint_segments * 4_200)
    put(term_module, "TAIL_SEGMENTS_MAX", swarm.tail_segments)
    put(checkpointing, "TAIL_COMMITS_MAX", swarm.tail_segments)
    quiet = SimpleNamespace(info=lambda *_: None, exception=world.surprised)
    put(term_module, "log", quiet)
    put(checkpointing, "log", quiet)
    put(checkpoints, "PART_BYTES", swarm.part_bytes)
    if swarm.thread_ms:
        put(checkpoints, "APART_BYTES", 0)
    put(image, "_JOBS_PER_PART", swarm.jobs_per_part)
    put(broker_module, "Engine", type("SimEngine", (_SimEngine,), {"watched_by": world}))
    put(engine_module, "Views", type("SimViews", (_SimViews,), {"watched_by": world}))
    put(work, "WorkSession", type("SimSession", (_SimSession,), {"watched_by": world}))
    time = SimpleNamespace(monotonic=loop.time)
    put(retrying, "time", time)
    put(reading, "time", time)
    put(retrying, "random", random.Random(f"retrying {swarm.seed}"))
    names = itertools.count(1)
    put(session, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"session{next(names)}")))
    return stack

"""The same small world again and again, its leader struck at every step of its life in turn.

A step is what a process does between two awaits: striking after each of them is striking at
every await there is.
"""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.loop import Node
from tests.simulation.nemesis import Nemesis
from tests.simulation.run import Result, run_seed
from tests.simulation.swarm import Swarm
from tests.simulation.world import World

KINDS = ("kill", "freeze")


def scenario() -> Swarm:
    """Submissions, schedules, workflows, batches, follow-ups, claims, a Work stream, failures, checkpoints and clean-up
    in a second and a half."""
    return Swarm(
        seed=7,
        brokers=2,
        workers=1,
        pushed_workers=1,
        producers=1,
        operators=0,
        schedulers=1,
        planners=1,
        latency_ms=(2.0, 20.0),
        checkpoint_segments=12,
        inline_bytes=0,
        part_bytes=600,
        jobs_per_part=3,
        trouble_ms=1_500.0,
        think_ms=30.0,
        behaviours={
            "fail": 0.2,
            "batch": 0.3,
            "key": 0.3,
            "release": 0.1,
            "retention": 0.2,
            "repeat": 0.2,
            "slots": 0.3,
            "join": 0.3,
            "follow up": 0.3,
        },
    )


def leader_steps() -> int:
    """How many steps the first leader takes in the scenario."""
    steps = [0]

    def script(world: World, nemesis: Nemesis) -> None:
        def count(node: Node) -> None:
            if not world.calm and node is world.brokers[0].node:
                steps[0] = node.steps

        world.loop.on_step = count

    result = run_seed(scenario(), script=script)
    assert result.ok, result.problems
    return steps[0]


def strike(step: int, kind: str) -> Result:
    """The scenario with its first leader struck after this step."""

    def script(world: World, nemesis: Nemesis) -> None:
        victim = world.brokers[0]

        def watch(node: Node) -> None:
            if node is not victim.node or node.steps != step or victim.lives > 1:
                return
            world.note(f"STRIKE {kind}")
            world.loop.on_step = None
            if kind == "kill":
                victim.kill()
                world.loop.world.call_at_ms(world.loop.now_ms + 700, nemesis.revive, victim)
            else:
                node.stop(suspend=step % 2 == 0)
                world.loop.world.call_at_ms(world.loop.now_ms + 3_000, node.resume)

        world.loop.on_step = watch

    return run_seed(replace(scenario(), trouble_ms=4_500.0), script=script)


def sweep(steps: range) -> Iterator[tuple[int, str, Result]]:
    """Every strike of these steps."""
    for step in steps:
        for kind in KINDS:
            yield step, kind, strike(step, kind)

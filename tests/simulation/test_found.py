"""What the simulation found, as worlds of their own: each went wrong once."""

import pytest

from tests.simulation.nemesis import Nemesis
from tests.simulation.run import Result, run_seed
from tests.simulation.swarm import Swarm
from tests.simulation.world import SimBroker, World

pytestmark = pytest.mark.simulation

QUIET = {"batch": 0.3, "key": 0.3, "fail": 0.1}


def world_in_which(happens, brokers: int = 2, **fields) -> Result:
    """A quiet world; at two seconds `happens` is called with it and its leader."""
    swarm = Swarm(seed=11, brokers=brokers, workers=2, producers=2, trouble_ms=8_000.0, behaviours=QUIET, **fields)

    def script(world: World, nemesis: Nemesis) -> None:
        def strike() -> None:
            leader = next(broker for broker in world.brokers if broker.leads)
            happens(world, nemesis, leader)

        world.loop.world.call_at_ms(2_000, strike)

    return run_seed(swarm, script=script)


def test_a_quiet_world_is_quiet():
    result = world_in_which(lambda world, nemesis, leader: None)
    assert result.ok, result.problems
    assert result.counts["takeovers"] == 1


@pytest.mark.parametrize("how", ["shut_down", "step_down"])
def test_a_hand_over_on_a_failed_store_ends_quietly(how):
    """It raised what the store said, and left the broker half stopped."""

    def happens(world: World, nemesis: Nemesis, leader: SimBroker) -> None:
        leader.store.broken = True
        leader.node.spawn(leader.shut_down() if how == "shut_down" else leader.broker.step_down(), name=how)

    result = world_in_which(happens)
    assert result.ok, result.problems


def test_a_leader_frozen_on_the_threshold_of_its_term_does_no_harm():
    """It serves for a moment, under an epoch that is over; its first commit meets the fence."""

    def happens(world: World, nemesis: Nemesis, leader: SimBroker) -> None:
        leader.kill()
        standby = next(broker for broker in world.brokers if broker is not leader)

        def freeze(broker: SimBroker, operation: object, key: str) -> None:
            if broker is standby and key.startswith("log/") and operation.value == "put_if_absent":
                world.ambush = lambda *_: None
                world.loop.world.call_at_ms(world.loop.now_ms + 1, lambda: broker.node.stop(suspend=True))
                world.loop.world.call_at_ms(world.loop.now_ms + 4_000, broker.node.resume)

        world.ambush = freeze
        nemesis.revive(leader)

    result = world_in_which(happens)
    assert result.ok, result.problems
    assert result.counts["takeovers"] >= 2

"""Limits may change between two runs of a broker, each of them, up and down: a replay depends on none."""

import random
from dataclasses import fields, replace

import pytest

from osqueue_service.limits import DEFAULT_LIMITS, Limits
from tests.core import Core
from tests.unit.state.test_image import busy

# What the core decides by; all others are matters of the edge and of the engine.
DECIDED_BY = [
    each.name
    for each in fields(Limits)
    if each.name.startswith(
        ("default_", "history", "finished", "dead", "promised", "settled", "request", "idempotency")
    )
]


def limits(draw: random.Random) -> Limits:
    """Some of them lowered to next to nothing, some raised."""
    chosen = draw.sample(DECIDED_BY, draw.randint(1, len(DECIDED_BY)))
    return replace(DEFAULT_LIMITS, **{name: draw.choice([0, 1, 3, 10**6]) for name in chosen})


@pytest.mark.parametrize("seed", range(30))
def test_every_log_replays_whatever_the_limits_were(seed: int) -> None:
    draw = random.Random(seed)
    core = Core(limits(draw))
    for number in range(120):
        if number % 15 == 14:
            core.limits = limits(draw)
        if number % 20 == 19:
            core.advance(draw.choice([10, 60_000, 4_000_000]))
            core.sweep()
        busy(core, draw, number)
    core.check_replay()


@pytest.mark.parametrize(("before", "after"), [(20, 2), (2, 20), (20, 0), (0, 20)])
def test_a_history_is_cut_when_the_next_attempt_ends_and_not_by_a_replay(before: int, after: int) -> None:
    core = Core(replace(DEFAULT_LIMITS, history_attempts=before, default_max_attempts=100))
    job_id = core.submit()
    for _ in range(5):
        core.fail(core.claim_one())
    assert len(core.job(job_id).history) == min(5, before)
    core.limits = replace(core.limits, history_attempts=after)
    core.check_replay()
    core.fail(core.claim_one())
    assert len(core.job(job_id).history) == min(min(5, before) + 1, after)
    core.check_replay()

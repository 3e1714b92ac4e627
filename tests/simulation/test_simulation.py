"""The simulation in CI: deterministic, sharp enough, and clean, within three minutes."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import crashes
from tests.simulation.bugs import BUGS, planted
from tests.simulation.report import run_many
from tests.simulation.run import run_seed
from tests.simulation.swarm import draw

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(400)]

PROCESSES = os.cpu_count() or 1
FIXED_SEEDS = 500
FRESH_SEEDS = 500
BUDGET_S = float(os.environ.get("OSQUEUE_SIMULATION_SECONDS", "100"))
BUG_SEEDS_MAX = 200
STRIKE_EVERY = 29


def test_equal_seeds_give_equal_runs_whatever_the_hash_seed():
    hashes = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--hashes", "2", "5", "13"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(done.stdout)
    assert hashes[0] == hashes[1] and hashes[0].count("\n") == 3


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name):
    for seed in range(BUG_SEEDS_MAX):
        with planted(name):
            if run_seed(draw(seed), problems_max=1).problems:
                return
    pytest.fail(f"{BUG_SEEDS_MAX} seeds did not notice: {name}")


def test_many_worlds_end_well(capsys):
    """Half of the seeds are always the same, half are new in every run; a failure tells how to repeat it."""
    fresh = random.SystemRandom().randrange(10_000, 1_000_000_000)
    seeds = [*range(FIXED_SEEDS), *range(fresh, fresh + FRESH_SEEDS)]
    # Mixed, so that a run that ends for lack of time has had some of both.
    seeds = [seed for pair in zip(seeds[:FIXED_SEEDS], seeds[FIXED_SEEDS:], strict=True) for seed in pair]
    total = run_many(seeds, processes=PROCESSES, budget_s=BUDGET_S)
    report = "\n".join(total.lines())
    with capsys.disabled():
        print("\n" + report)
    assert not total.failures, report
    assert total.seeds < 300 or not total.missing, f"never happened: {total.missing}"


def test_a_leader_may_be_struck_at_any_step():
    """A part of the steps, others in every run; `python -m tests.simulation --crashes` strikes at each."""
    first = random.SystemRandom().randrange(1, STRIKE_EVERY + 1)
    for step, kind, result in crashes.sweep(range(first, crashes.leader_steps() + 1, STRIKE_EVERY)):
        assert result.ok, f"{kind} after step {step}: {result.problems}"

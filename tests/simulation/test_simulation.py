"""The simulation in CI: deterministic, sharp enough, and clean, within three minutes.

The seeds are the same in every run, so that a change is judged by what it changes. `make sim` and `make proof` look
further: new seeds, more of them, and a strike at every step.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import crashes
from tests.simulation.blind_spots import BUGS, planted
from tests.simulation.report import run_many
from tests.simulation.run import run_seed
from tests.simulation.swarm import draw

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(400)]

PROCESSES = os.cpu_count() or 1
SEEDS = 1_000
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
    """A failure tells how to repeat it."""
    total = run_many(range(SEEDS), processes=PROCESSES, budget_s=BUDGET_S)
    report = "\n".join(total.lines())
    with capsys.disabled():
        print("\n" + report)
    assert not total.failures, report
    assert total.seeds < 300 or not total.missing, f"never happened: {total.missing}"


def test_a_leader_may_be_struck_at_any_step():
    """A part of the steps; `python -m tests.simulation --crashes` strikes at each."""
    for step, kind, result in crashes.sweep(range(1, crashes.leader_steps() + 1, STRIKE_EVERY)):
        assert result.ok, f"{kind} after step {step}: {result.problems}"

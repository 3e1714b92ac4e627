"""A long proof that is split, broken off and gone on with."""

from collections import Counter

from tests.simulation.ledger import Ledger, read
from tests.simulation.report import Outcome


def outcome(seed: int, problems: list[str] | None = None) -> Outcome:
    return Outcome(seed, problems or [], 1_000.0, 10, 5, Counter({"commits": 2}), 0.1)


def test_what_was_run_is_not_run_again(tmp_path):
    path = tmp_path / "proof"
    first = Ledger(path, range(250))
    for seed in range(200):
        first.add(outcome(seed))
    assert first.total.seeds == 200
    again = Ledger(path, range(250))
    assert again.left == list(range(200, 250))
    for seed in again.left:
        again.add(outcome(seed, ["broken"] if seed == 249 else None))
    assert (again.total.seeds, again.total.operations, again.total.counts["commits"]) == (250, 1_250, 500)
    assert again.total.failures == [(249, ["broken"])]
    assert Ledger(path, range(250)).left == []


def test_parts_add_up_and_count_once(tmp_path):
    for name, seeds in (("one", range(100)), ("other", range(100, 300))):
        ledger = Ledger(tmp_path / name, seeds)
        for seed in seeds:
            ledger.add(outcome(seed))
    total, done = read([tmp_path / "one", tmp_path / "other", tmp_path / "one"])
    assert total.seeds == 300 and done == set(range(300))
    assert total.simulated_ms == 300_000.0

"""A long proof on file: what was run is not run again, and the parts of several runs add up."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.simulation.report import Outcome, Total

SEEDS_PER_LINE = 100
"""Seeds that are written together, when the last of them has been run."""


class Ledger:
    """A file of JSON lines, each the sum of some seeds."""

    def __init__(self, path: Path, wanted: Sequence[int]) -> None:
        self._path = path
        self.total, done = read([path] if path.exists() else [])
        self.left = [seed for seed in wanted if seed not in done]
        self._expected = Counter(seed // SEEDS_PER_LINE for seed in self.left)
        self._open: dict[int, list[Outcome]] = defaultdict(list)

    def add(self, outcome: Outcome) -> None:
        """One more seed has been run."""
        part = outcome.seed // SEEDS_PER_LINE
        outcomes = self._open[part]
        outcomes.append(outcome)
        if len(outcomes) < self._expected[part]:
            return
        del self._open[part]
        total = Total()
        for one in outcomes:
            total.add(one)
            self.total.add(one)
        with self._path.open("a") as file:
            file.write(json.dumps(_line(total, sorted(one.seed for one in outcomes))) + "\n")


def read(paths: Iterable[Path]) -> tuple[Total, set[int]]:
    """The sum of these files, and the seeds in it. A seed that is in two of them counts once, with its whole line."""
    total, done = Total(), set[int]()
    for path in paths:
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if done.isdisjoint(line["seeds"]):
                done.update(line["seeds"])
                _add(total, line)
    return total, done


def _line(total: Total, seeds: list[int]) -> dict[str, object]:
    return {
        "seeds": seeds,
        "simulated_ms": total.simulated_ms,
        "steps": total.steps,
        "operations": total.operations,
        "cpu_s": round(total.cpu_s, 3),
        "counts": total.counts,
        "failures": total.failures,
    }


def _add(total: Total, line: dict[str, object]) -> None:
    total.seeds += len(line["seeds"])  # type: ignore[arg-type]
    for name in ("simulated_ms", "steps", "operations", "cpu_s"):
        setattr(total, name, getattr(total, name) + line[name])
    total.counts.update(line["counts"])  # type: ignore[arg-type]
    total.failures += [(seed, problems) for seed, problems in line["failures"]]  # type: ignore[attr-defined]

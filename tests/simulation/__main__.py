"""`python -m tests.simulation`: run worlds, reproduce one, strike everywhere, or look for planted bugs."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.simulation import crashes
from tests.simulation.blind_spots import BUGS, planted
from tests.simulation.ledger import Ledger, read
from tests.simulation.report import Total, run_many
from tests.simulation.run import Result, run_seed
from tests.simulation.swarm import draw

BUG_SEEDS_MAX = 200


def main() -> int:
    options = _options()
    if options.hashes:
        for seed in options.hashes:
            print(seed, run_seed(draw(seed)).trace_hash)
        return 0
    if options.seed is not None:
        return _one(options.seed, options.bug, options.trace)
    if options.bugs:
        return _bugs()
    if options.crashes:
        return _crashes(options.every)
    if options.sum:
        return _report(read(options.sum)[0])
    return _many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="keep what was run in this file; what it has is not run again")
    parser.add_argument("--sum", type=Path, nargs="+", help="add up what such files have, and report")
    parser.add_argument("--budget", type=float, default=float("inf"), help="stop after so many seconds")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="run this seed alone, and tell its problems")
    parser.add_argument("--trace", action="store_true", help="with --seed: write the trace to simulation-SEED.trace")
    parser.add_argument("--bug", choices=sorted(BUGS), help="with --seed: plant this bug")
    parser.add_argument("--bugs", action="store_true", help="plant every bug in turn, until it is caught")
    parser.add_argument("--crashes", action="store_true", help="strike the leader of a small world at every step")
    parser.add_argument("--every", type=int, default=1, help="with --crashes: at every so many steps only")
    parser.add_argument("--hashes", type=int, nargs="*", help="print the trace hash of these seeds")
    return parser.parse_args()


def _one(seed: int, bug: str | None, trace: bool) -> int:
    if bug:
        with planted(bug):
            result = run_seed(draw(seed), traced=trace)
    else:
        result = run_seed(draw(seed), traced=trace)
    print(draw(seed))
    _tell(f"seed {seed}", result)
    if trace:
        path = Path(f"simulation-{seed}.trace")
        path.write_text("\n".join(result.trace) + "\n")
        print(f"{len(result.trace):,} lines in {path}, hash {result.trace_hash}")
    return 0 if result.ok else 1


def _tell(name: str, result: Result) -> None:
    verdict = "ok" if result.ok else "FAILED"
    print(f"{name}: {verdict}, {result.simulated_ms / 1_000:.0f} simulated seconds, {result.operations} operations")
    for problem in result.problems:
        print(f"  {problem}")


def _bugs() -> int:
    missed = 0
    for name in BUGS:
        began = time.monotonic()
        for seed in range(BUG_SEEDS_MAX):
            with planted(name):
                result = run_seed(draw(seed), problems_max=1)
            if not result.ok:
                print(f"{name}: caught by seed {seed} in {time.monotonic() - began:.1f} s: {result.problems[0][:160]}")
                break
        else:
            missed += 1
            print(f"{name}: NOT CAUGHT within {BUG_SEEDS_MAX} seeds")
    return missed


def _crashes(every: int) -> int:
    steps = crashes.leader_steps()
    failed = strikes = 0
    for step, kind, result in crashes.sweep(range(1, steps + 1, every)):
        strikes += 1
        if not result.ok:
            failed += 1
            _tell(f"{kind} after step {step}", result)
    print(f"{strikes:,} strikes over {steps:,} steps, {failed} failed")
    return min(failed, 1)


def _many(options: argparse.Namespace) -> int:
    shown = [time.monotonic()]
    told = [0]

    def progress(total: Total) -> None:
        for seed, problems in total.failures[told[0] :]:
            print(f"seed {seed} FAILED: {problems[0]}", flush=True)
        told[0] = len(total.failures)
        if time.monotonic() - shown[0] > 20:
            shown[0] = time.monotonic()
            print(f"… {total.seeds:,} seeds, {total.operations:,} operations, {len(total.failures)} failed", flush=True)

    seeds: Sequence[int] = range(options.first, options.first + options.seeds)
    ledger = Ledger(options.save, seeds) if options.save else None
    total = run_many(
        ledger.left if ledger else seeds,
        processes=options.processes,
        budget_s=options.budget,
        progress=progress,
        keep=ledger.add if ledger else lambda outcome: None,
    )
    return _report(ledger.total if ledger else total)


def _report(total: Total) -> int:
    for line in total.lines():
        print(line)
    if total.missing and total.seeds >= 200:
        print(f"never happened: {', '.join(total.missing)}")
    return 0 if not total.failures else 1


if __name__ == "__main__":
    sys.exit(main())

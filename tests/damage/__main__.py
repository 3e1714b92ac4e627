"""`python -m tests.damage`: damage stores of every form, a million times, and print what came of it.

First every bit of small objects and of all headers, and one in each block of larger bodies; then mutations at random.
"""

import argparse
import asyncio
import random
import time

from tests.damage.sweep import Findings, Sweep, stores
from tests.unit.log.virtual import run

VERIFY_EVERY = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1_000_000, help="beyond the flipped bits")
    parser.add_argument("--seed", type=int, default=None, help="of the mutations; by default another one each day")
    parser.add_argument("--bits", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    seed = int(time.time() // 86_400) if chosen.seed is None else chosen.seed
    findings = asyncio.run(_all(chosen.mutations, chosen.bits, seed))
    print(f"seed {seed}: {findings}", *findings.problems, sep="\n")
    return 1 if findings.problems else 0


async def _all(mutations: int, bits: bool, seed: int) -> Findings:
    findings = Findings()
    draw = random.Random(seed)
    whole = await asyncio.to_thread(lambda: run(stores()))
    for objects in whole:
        sweep = Sweep(objects, findings)
        await sweep.prepare()
        if bits:
            for number, (key, damaged) in enumerate(sweep.every_bit()):
                await sweep.try_one(key, damaged, verified=number % VERIFY_EVERY == 0)
        for number, (key, damaged) in enumerate(sweep.at_random(mutations // len(whole), draw)):
            await sweep.try_one(key, damaged, verified=number % VERIFY_EVERY == 0)
        print(findings, flush=True)
    return findings


if __name__ == "__main__":
    raise SystemExit(main())

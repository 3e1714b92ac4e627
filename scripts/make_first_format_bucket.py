#!/usr/bin/env python3
"""Write tests/unit/frozen/bucket-1.json: a queue's objects as the last commit of the first stored format left them.

Run it in a clone with its history; it needs nothing but the packages of the development environment. The broker of that
commit founds a queue, makes a checkpoint, goes on behind it, and dies without handing over.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMIT = "c028122"
"""The last commit whose brokers wrote the first format."""

ROOT = Path(__file__).parents[1]
BUCKET = ROOT / "tests" / "unit" / "frozen" / "bucket-1.json"

PROGRAM = """
import base64, json
from osqueue_service.engine import checkpointing
from osqueue_service.leadership import term
from osqueue_service.state.commands import Cancel, Claim, Complete, CompleteItem, Fail, FailItem, PauseTypes, Submit
from osqueue_service.state.model import JobSpec, RetryPolicy
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import pass_ms
from tests.unit.life import Life
from tests.unit.log.virtual import run

async def scenario():
    bucket = MemoryBucket()
    life = await Life(bucket, "a").lead()
    engine = life.broker.engine
    async def some(count, key):
        retry = RetryPolicy(1_000)
        specs = [JobSpec("mail", b'{"n":%d}' % n, idempotency_key=f"{key}{n}", retry=retry) for n in range(count)]
        await engine.execute(Submit(specs, request_id=key))
        granted = await engine.claim(Claim("worker", max_jobs=count // 2, claim_key=key))
        await engine.execute(Complete([CompleteItem(g.job_id, "worker", g.token, b"done") for g in granted[:2]]))
        await engine.execute(Fail([FailItem(granted[2].job_id, "worker", granted[2].token, "E", "it broke")]))
        await engine.execute(Cancel([granted[3].job_id]))
    await some(12, "first")
    term.CHECKPOINT_FLOOR_BYTES = 0
    await engine.execute(PauseTypes(["thumb"]))
    await pass_ms(2_000)
    term.CHECKPOINT_FLOOR_BYTES = 1 << 40
    await some(10, "second")
    await pass_ms(100)
    keys = bucket.keys_after("", "", 1_000)
    print(json.dumps({key: base64.b64encode(bucket.get(key).body).decode() for key in keys}))

run(scenario())
"""


def main() -> int:
    """Build the tree of that commit, run its broker, and write what it left."""
    with tempfile.TemporaryDirectory() as tree:
        archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
        environment = {**os.environ, "PYTHONPATH": tree}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tree, env=environment, check=True, capture_output=True, text=True
        )
    objects = json.loads(done.stdout.splitlines()[-1])
    BUCKET.write_text(json.dumps(objects, indent=1) + "\n")
    print(f"{BUCKET}: {len(objects)} objects of {COMMIT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

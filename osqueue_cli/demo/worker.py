"""One worker process of the demo: `python -m osqueue_cli.demo.worker BROKER_URL WORKER_ID`.

It tells on standard output, as JSON lines, what it did: "ran" when a handler has run to its end,
"done" when the broker has acknowledged the completion. That is the workers' own account, which
the demo holds against the broker's.
"""

import asyncio
import json
import os
import sys
from typing import Any

from osqueue import ClaimedJob, JobContext, OsqueueClient, Worker
from osqueue_cli.child import end_with_parent
from osqueue_cli.demo.handlers import Letter, Order, Tile, paint, receipt, registry, tile, write_receipt
from osqueue_cli.demo.picture import halves

CONCURRENCY = 4


def say(**what: Any) -> None:
    """One line, in one write, so that nothing of it is lost with this process."""
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


def run_tile(piece: Tile, context: JobContext) -> bytes:
    pixels = paint(piece)
    say(ran=context.job_id)
    return pixels


async def run_receipt(order: Order, context: JobContext) -> Letter:
    letter = await write_receipt(order, context)
    say(ran=context.job_id)
    return letter


def tell_completion(job: ClaimedJob, result: bytes | None) -> None:
    if job.type == tile.name and result is not None:
        piece = tile.decode_payload(job.payload)
        say(done=job.job_id, tile=piece.row * piece.columns + piece.column, halves=halves(result))
    else:
        say(done=job.job_id)


async def work(broker_url: str, worker_id: str) -> None:
    """Work until SIGTERM."""
    async with OsqueueClient(broker_url, registry=registry) as client:
        worker = Worker(
            client,
            {tile: run_tile, receipt: run_receipt},
            concurrency=CONCURRENCY,
            worker_id=worker_id,
            on_completed=tell_completion,
            drain_timeout_ms=2_000,
        )
        say(ready=worker_id)
        await worker.run()


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(work(sys.argv[1], sys.argv[2]))

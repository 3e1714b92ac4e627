"""A worker as a process, to be killed and paused: `python -m tests.chaos.worker_process NAME ADDRESSES FILE`.

Everything it asks and is told goes to FILE, one event per line.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from osqueue import JobContext, OsqueueClient, Worker
from tests.chaos.recording import RecordingTransport
from tests.checkers.history import Event, History

HANDLER_S = 0.05


async def handle(payload: dict[str, Any], context: JobContext) -> dict[str, str]:
    """As the payload says: done after a while, or failing always or once."""
    await asyncio.sleep(HANDLER_S)
    if payload["do"] == "die" or (payload["do"] == "fail once" and context.attempt == 1):
        raise RuntimeError("by plan")
    return {"by": context.job_id}


async def work(name: str, addresses: str, out: TextIO) -> None:
    def ended(event: Event) -> None:
        out.write(json.dumps(asdict(event)) + "\n")
        out.flush()

    transport = RecordingTransport(name, addresses.split(","), History(), ended)
    async with OsqueueClient(transport=transport, timeout_ms=2_000, retry_delay_ms=100) as client:
        worker = Worker(client, {"work": handle}, concurrency=10, worker_id=name)
        print(f"{name} works", file=sys.stderr, flush=True)
        await worker.run()


def main(name: str, addresses: str, file: str) -> None:
    with Path(file).open("a") as out:
        asyncio.run(work(name, addresses, out))


if __name__ == "__main__":
    main(*sys.argv[1:])

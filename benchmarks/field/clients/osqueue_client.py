"""osqueue: `submit ADDRESS SECONDS` or `work ADDRESS JOBS`; prints {"jobs", "seconds"}.

`submit-alone` sends each call by itself.
"""

import asyncio
import json
import sys
import time

from osqueue import OsqueueClient, Worker

CALLERS = 256
PAYLOAD = {"to": "ada@example.org", "n": 1}


def report(jobs: int, began: float) -> None:
    print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - began}), flush=True)


async def submit(address: str, seconds: float, coalesce: bool) -> None:
    async with OsqueueClient(address, coalesce=coalesce) as client:
        await client.get_stats()  # connected, as the others are
        began = time.perf_counter()
        ends = began + seconds
        jobs = 0

        async def caller() -> None:
            nonlocal jobs
            while time.perf_counter() < ends:
                await client.submit_job("noop", PAYLOAD)
                jobs += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        report(jobs, began)


async def work(address: str, jobs: int) -> None:
    began = 0.0

    async def noop(payload: object) -> None:
        nonlocal began
        began = began or time.perf_counter()

    async with OsqueueClient(address) as client:
        worker = Worker(client, {"noop": noop}, concurrency=CALLERS)
        await worker.run(until_idle=True, handle_signals=False)
        report(worker.state().completed, began)
        assert worker.state().completed == jobs


mode, address, argument = sys.argv[1:]
asyncio.run(
    work(address, int(argument))
    if mode == "work"
    else submit(address, float(argument), coalesce=mode != "submit-alone")
)

"""SAQ: `submit REDIS_URL SECONDS` or `work REDIS_URL JOBS`; prints {"jobs", "seconds"}."""

import asyncio
import json
import os
import sys
import time

from saq import Queue, Worker

CALLERS = 256
PAYLOAD = {"to": "ada@example.org", "n": 1}


def report(jobs: int, began: float) -> None:
    print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - began}), flush=True)


async def submit(url: str, seconds: float) -> None:
    queue = Queue.from_url(url, max_concurrent_ops=CALLERS)
    await queue.connect()
    began = time.perf_counter()
    ends = began + seconds
    jobs = 0

    async def caller() -> None:
        nonlocal jobs
        while time.perf_counter() < ends:
            await queue.enqueue("noop", **PAYLOAD)
            jobs += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    report(jobs, began)
    await queue.disconnect()


async def work(url: str, jobs: int) -> None:
    queue = Queue.from_url(url, max_concurrent_ops=CALLERS)
    began, done = 0.0, 0

    async def noop(context: object, **payload: object) -> None:
        nonlocal began
        began = began or time.perf_counter()

    async def after(context: object) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            report(jobs, began)
            os._exit(0)  # its own shutdown waits for a blocking read of the queue

    await Worker(queue, [("noop", noop)], concurrency=CALLERS, after_process=after).start()


mode, url, argument = sys.argv[1:]
asyncio.run(submit(url, float(argument)) if mode == "submit" else work(url, int(argument)))

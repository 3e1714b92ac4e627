"""What is tried again, when, and what becomes a dead letter; and how to revive those."""

import asyncio
from collections import Counter

from osqueue import JobError, JobFilter, OsqueueClient, Reject, Retry, Settled, Worker
from osqueue.job import ClaimedJob

attempts: Counter[str] = Counter()


async def handle(payload: str) -> str:
    attempts[payload] += 1
    if payload == "flaky" and attempts[payload] < 3:
        raise ConnectionError("the other side hung up")  # any exception: another attempt, up to max_attempts
    if payload == "busy" and attempts[payload] < 2:
        raise Retry("asked to come back", delay_ms=50)  # another attempt, when the other side is ready
    if payload == "broken":
        raise Reject("no such customer")  # trying again cannot help
    return f"{payload} after {attempts[payload]} attempts"


def told(job: ClaimedJob, error: JobError, settled: Settled) -> None:
    print(f"{job.value()}, attempt {job.attempt}: {error.type} → {settled.status}")


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client, {"task": handle}, concurrency=1, on_failed=told)
        working = asyncio.create_task(worker.run(handle_signals=False))
        jobs = [await client.submit_job("task", payload) for payload in ("flaky", "busy", "broken")]
        print(await jobs[0].result())
        print(await jobs[1].result())
        dead = await client.wait_job(jobs[2].id)
        print(f"dead: {dead.error.message.splitlines()[0] if dead.error else ''}")
        revived = await client.retry_jobs(matching=JobFilter(statuses=("dead",), types=("task",)))
        print(f"revived: {len(revived.changed)}")
        await client.wait_job(jobs[2].id)
        worker.stop()
        await working


asyncio.run(main())

"""Coroutines, threads and processes side by side, each with as many slots as suit it."""

import asyncio
import hashlib
import time

from osqueue import Handler, OsqueueClient, Worker, new_job


async def fetch(payload: str) -> str:  # waits: hundreds at once cost nothing
    await asyncio.sleep(0.01)
    return payload.upper()


def read_disk(payload: str) -> int:  # blocks: a thread each
    time.sleep(0.01)
    return len(payload)


def digest(payload: str) -> str:  # computes: a process each
    return hashlib.pbkdf2_hmac("sha256", payload.encode(), b"salt", 20_000).hex()[:8]


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(
            client,
            {
                "fetch": fetch,
                "read": Handler(read_disk, concurrency=4),
                "digest": Handler(digest, runs_in="process", concurrency=2),
            },
            concurrency=100,
        )
        specs = [new_job(kind, f"{kind} {n}") for n in range(20) for kind in ("fetch", "read", "digest")]
        jobs = await client.submit_jobs(specs)
        await worker.run(until_idle=True, handle_signals=False)
        results = [await job.result() for job in jobs[:3]]
        print(f"{worker.tally.completed} done; the first three: {results}")


if __name__ == "__main__":  # processes import this module again
    asyncio.run(main())

"""Several workers on one queue: each job is done by one of them, and one that stops leaves nothing behind."""

import asyncio
from collections import Counter

from osqueue import JobContext, OsqueueClient, Worker, new_job

JOBS = 60

done: Counter[str] = Counter()


async def resize(payload: dict[str, int], context: JobContext) -> None:
    await asyncio.sleep(0.01)
    done[context.job.worker_id] += 1


async def main() -> None:
    async with OsqueueClient() as client:
        names = ("one", "two", "three")
        workers = [Worker(client, {"resize": resize}, worker_id=name, concurrency=4) for name in names]
        working = [asyncio.create_task(worker.run(handle_signals=False)) for worker in workers]
        jobs = await client.submit_jobs([new_job("resize", {"photo": n}) for n in range(JOBS)])

        await jobs[0].result()
        workers[0].stop()  # finishes what it has begun; the others take the rest
        await asyncio.gather(*(job.result() for job in jobs))
        print(f"{done.total()} done, each once; by {len(done)} workers")

        for worker in workers[1:]:
            worker.stop()
        await asyncio.gather(*working)


asyncio.run(main())

"""Many jobs in one commit, and a look at how they come along."""

import asyncio

from osqueue import JobContext, OsqueueClient, Worker, new_job

PAGES = 40


async def crawl(payload: dict[str, int], context: JobContext) -> int:
    context.progress(0.5, "read")  # `osqueue job show` and get_job tell it to whoever asks
    await asyncio.sleep(0.01)
    return payload["page"] * 100


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client, {"crawl": crawl}, concurrency=8)
        working = asyncio.create_task(worker.run(handle_signals=False))

        # All of them, or none.
        jobs = await client.submit_jobs([new_job("crawl", {"page": page}) for page in range(PAGES)])

        words = 0
        for done, result in enumerate(asyncio.as_completed([job.result() for job in jobs]), 1):
            words += await result
            if done % 10 == 0:
                print(f"{done} of {PAGES} pages")
        print(f"{words} words")

        worker.stop()
        await working


asyncio.run(main())

"""Submit some jobs and wait for what becomes of them."""

import asyncio

from registry import Email, Thumbnail, email, registry, thumbnail

from osqueue import OsqueueClient


async def main() -> None:
    async with OsqueueClient(registry=registry) as client:
        # Durable when the call returns. Calls made together travel together.
        jobs = await asyncio.gather(
            *(client.submit_job(email, Email(to=f"user{n}@example.org", subject="Welcome")) for n in range(5))
        )
        picture = await client.submit_job(thumbnail, Thumbnail(image="cat.png"), priority=5)
        print(f"submitted {len(jobs)} emails and {picture.id}")

        for job in jobs:
            receipt = await job.result(timeout_ms=30_000)
            print(f"{job.id} was sent as {receipt.message_id}")
        await picture.result(timeout_ms=30_000)

        stats = await client.get_stats()
        print(f"{stats.counts.completed_total} jobs completed so far, {stats.counts.total} to go")


asyncio.run(main())

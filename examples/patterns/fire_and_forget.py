"""Submit and go on. The job is durable when the call returns; who runs it, and when, is no longer our concern."""

import asyncio

from osqueue import OsqueueClient, RetryPolicy


async def main() -> None:
    async with OsqueueClient() as client:
        await client.submit_job("audit", {"who": "ada", "did": "log in"})

        # Higher priorities are claimed first, whatever waits already.
        await client.submit_job("audit", {"who": "eve", "did": "fail to log in"}, priority=10)

        # Not before in an hour; then up to ten attempts, ever further apart.
        await client.submit_job(
            "reminder",
            {"who": "ada"},
            delay_ms=3_600_000,
            max_attempts=10,
            retry_policy=RetryPolicy(initial_ms=1_000, multiplier=2, max_ms=600_000, jitter=0.5),
        )

        # A key makes repeating harmless: the second call finds the first one's job.
        first = await client.submit_job("invoice", {"order": 42}, idempotency_key="order-42")
        second = await client.submit_job("invoice", {"order": 42}, idempotency_key="order-42")
        print(f"one invoice: {first.id == second.id}, found again: {second.deduplicated}")

        waiting = [job.type async for job in client.list_jobs()]
        print(f"waiting: {', '.join(sorted(waiting))}")


asyncio.run(main())

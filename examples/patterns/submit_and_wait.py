"""A job as a remote call: its result comes back, and so does its failure."""

import asyncio

from osqueue import JobNotFinishedError, OsqueueClient, Reject, Worker, WorkerExecutionError


async def divide(payload: dict[str, float]) -> float:
    if payload["by"] == 0:
        raise Reject("cannot divide by zero")
    return payload["number"] / payload["by"]


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client, {"divide": divide})
        working = asyncio.create_task(worker.run(handle_signals=False))

        print("6 / 3 =", await client.submit_and_wait("divide", {"number": 6, "by": 3}))

        try:
            await client.submit_and_wait("divide", {"number": 6, "by": 0})
        except WorkerExecutionError as error:
            print(f"6 / 0: {error.error_type}")

        job = await client.submit_job("nobody-does-this", {})
        try:
            await job.result(timeout_ms=200)
        except JobNotFinishedError:
            print(f"after 200 ms the other job is {await job.status()}")
        await job.cancel()

        worker.stop()
        await working


asyncio.run(main())

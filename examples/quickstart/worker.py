"""Work until Ctrl-C; what runs then is finished first."""

import asyncio

from registry import Email, Receipt, Thumbnail, email, registry, thumbnail

from osqueue import JobContext, OsqueueClient, Worker

worker = Worker(OsqueueClient(registry=registry), concurrency=20)


@worker.handler(email)
async def send(payload: Email, context: JobContext) -> Receipt:
    context.logger.info("attempt %d", context.attempt)
    await asyncio.sleep(0.1)  # the mail server
    print(f"sent {payload.subject!r} to {payload.to}", flush=True)
    return Receipt(message_id=f"<{context.job_id}@example.org>")


@worker.handler(thumbnail)
def draw(payload: Thumbnail) -> None:  # a plain function runs in a thread
    print(f"drew {payload.image} at {payload.width} pixels", flush=True)


if __name__ == "__main__":
    worker.run_sync()

"""The process that does the work; run as many as you like: `python worker.py`."""

import asyncio

from jobs import Report, registry, report

from osqueue import JobContext, OsqueueClient, Worker


async def write(payload: Report, context: JobContext) -> dict[str, int]:
    pages = 12
    for page in range(pages):
        await asyncio.sleep(0.01)  # the slow work
        context.progress((page + 1) / pages)
    return {"pages": pages}


handlers = {report: write}

if __name__ == "__main__":
    Worker(OsqueueClient(registry=registry), handlers).run_sync()

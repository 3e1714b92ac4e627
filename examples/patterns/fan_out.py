"""Many files counted side by side, and one summary of them all, once the last has been counted."""

import asyncio

from osqueue import JobContext, JobType, OsqueueClient, Worker

FILES = {"a.txt": "to be or not to be", "b.txt": "that is the question", "c.txt": "whether tis nobler"}
COUNT = JobType("count", str, int)
SUMMARY = JobType("summary", str, dict[str, int])


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client)

        @worker.handler(COUNT)
        async def count(path: str, context: JobContext) -> int:
            return len(FILES[path].split())

        @worker.handler(SUMMARY)
        async def summary(title: str, context: JobContext) -> dict[str, int]:
            counts = [each.value(COUNT) for each in context.inputs]
            return {"files": len(counts), "words": sum(counts)}

        flow = client.workflow("word-count")
        counted = flow.map(COUNT, FILES)
        total = flow.gather(SUMMARY, "all", counted)
        handle = await flow.submit()  # all of it in one commit, or none
        before = await handle.get()
        print("at first:", ", ".join(f"{node.name} {node.status}" for node in before.nodes))

        await worker.run(until_idle=True, handle_signals=False)
        print("summary:", await handle.result(total))
        print("workflow:", (await handle.get()).workflow.status)


asyncio.run(main())

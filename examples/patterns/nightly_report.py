"""A report each night at two in Berlin, and for nights that have passed: the handler goes by the time it is for."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from osqueue import JobContext, OsqueueClient, Worker

BERLIN = ZoneInfo("Europe/Berlin")


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client)

        @worker.schedule("0 2 * * *", tz="Europe/Berlin", payload={"of": "sales"}, overlap="buffer_all")
        async def nightly_report(payload: dict[str, Any], context: JobContext) -> str:
            night = datetime.fromtimestamp(context.scheduled_for / 1_000, BERLIN)
            return f"{payload['of']} until {night:%Y-%m-%d %H:%M}"

        await worker.run(until_idle=True, handle_signals=False)  # puts the schedule; nothing is due
        schedule = await client.schedules.get("nightly_report")
        print(f"next: {schedule.next[0].local[11:16]} in {schedule.schedule.time_zone}")

        # Two nights around the change of clocks, as if the schedule had been there.
        since, until = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)
        jobs = await client.schedules.backfill("nightly_report", since, until)
        await worker.run(until_idle=True, handle_signals=False)
        for made in jobs:
            print((await client.get_job(made.job_id)).result_value())
        await client.schedules.delete("nightly_report")


asyncio.run(main())

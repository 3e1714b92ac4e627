"""An order in steps: what was charged is refunded when the parcel cannot be sent; the books are closed either way."""

import asyncio

from osqueue import JobContext, OsqueueClient, Reject, Worker, new_job


async def main() -> None:
    async with OsqueueClient() as client:
        worker = Worker(client)

        @worker.handler("charge")
        async def charge(order: dict[str, int], context: JobContext) -> str:
            return f"receipt {order['order']}"

        @worker.handler("ship")
        async def ship(order: dict[str, int], context: JobContext) -> str:
            if order["order"] == 13:
                raise Reject("the address does not exist")
            return "shipped"

        @worker.handler("refund")
        async def refund(order: dict[str, int], context: JobContext) -> None:
            print(f"order {order['order']} refunded")

        @worker.handler("close")
        async def close(order: dict[str, int], context: JobContext) -> dict[str, str]:
            return {each.node: each.status for each in context.inputs}

        for number in (12, 13):
            order = {"order": number}
            flow = client.workflow(f"order-{number}")
            charged = flow.add("charge", order)
            # The broker itself submits the refund, in the very commit in which shipping dies: nobody can forget it.
            shipped = flow.add("ship", order, needs=[charged], submit_on_dead=new_job("refund", order), max_attempts=2)
            closed = flow.add("close", order, needs=[shipped.need(if_dead="run", if_cancelled="run")])
            handle = await flow.submit()
            await worker.run(until_idle=True, handle_signals=False)
            print(f"order {number} closed: {await handle.result(closed)}")
            print(f"workflow {number}: {(await handle.get()).workflow.status}")


asyncio.run(main())

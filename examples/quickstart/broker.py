"""A broker on a directory, as `osqueue serve` runs one, until Ctrl-C. The queue is there when it starts again."""

import asyncio
import contextlib
import os

from osqueue_service import BrokerServer
from osqueue_service.storage.file import FileStore


async def main() -> None:
    store = FileStore.open("osqueue-data/quickstart")
    broker = BrokerServer(store, host="127.0.0.1", port=int(os.environ.get("BROKER_GRPC_PORT", "8081")))
    await broker.start()
    print(f"the queue is at grpc://{broker.address}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:  # hand over, and answer everybody
        await broker.stop()
        await store.close()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())

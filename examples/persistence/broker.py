"""A broker that keeps its queue in SQLite: `python broker.py queue.sqlite 8081`. A second one beside it stands by."""

import asyncio
import contextlib
import sys

from sqlite_store import SqliteStore

from osqueue_service import BrokerServer


async def main(path: str, port: int) -> None:
    store = SqliteStore(path)
    broker = BrokerServer(store, host="127.0.0.1", port=port)
    await broker.start(stand_by=True)
    print(f"at grpc://{broker.address}, with the queue in {path}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.stop()
        await store.close()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

"""A process that writes to a file store until it is killed, and says what was acknowledged.

Run as `python file_store_writer.py DIRECTORY ROUND`. Each line of its output is flushed only after the put returned.
"""

import asyncio
import sys

from osqueue_service.storage.file import FileStore


def segment_body(key: str) -> bytes:
    """What the object `key` must hold, some 20 KB that differ from key to key."""
    return f"{key}\n".encode() * (20_000 // (len(key) + 1))


def root_body(number: int) -> bytes:
    return b"%d\n" % number * 500


async def write_on(directory: str, round_name: str) -> None:
    store = FileStore.open(directory, threads=4)
    store.acquire_ownership(round_name)
    root = await store.read("queue.json")
    if root is None:
        version, number = await store.put_if_absent("queue.json", root_body(0)), 0
    else:
        version, number = root.version, int(root.body.split()[0])
    print("ready", flush=True)
    while True:
        keys = [f"log/{round_name}/{number}-{lane}" for lane in range(4)]
        await asyncio.gather(*(store.put_if_absent(key, segment_body(key)) for key in keys))
        print(*(f"segment {key}" for key in keys), sep="\n", flush=True)
        number += 1
        version = await store.put_if_version("queue.json", root_body(number), version)
        print(f"root {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(write_on(sys.argv[1], sys.argv[2]))

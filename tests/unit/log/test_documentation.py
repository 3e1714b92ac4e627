"""docs/data-format.md is enough to read a queue's objects."""

import os

import pytest

from osqueue_service.log import checkpoints
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import TestBroker, kill, pass_ms
from tests.unit.log.by_the_documentation import Objects, read_queue
from tests.unit.log.virtual import run


@pytest.mark.parametrize("image", [[b"small", b""], [os.urandom(200_000), os.urandom(200_000), b"end"]])
def test_a_reader_written_from_the_documentation_reads_a_queue(
    image: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 300_000)

    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await TestBroker(bucket, "a").elect()
        await first.appender.append(b"1", 1)
        assert read_queue(everything(bucket)) == ([], [b"1"])
        await first.publish_checkpoint(2, image, 0)
        await first.appender.append(b"compressed " * 200, 9)
        await pass_ms(500)
        kill(first)
        second = await TestBroker(bucket, "b").elect()
        await second.appender.append(b"3", 1)
        assert read_queue(everything(bucket)) == (image, [b"compressed " * 200, b"3"])

    run(scenario())


def everything(bucket: MemoryBucket) -> Objects:
    keys = bucket.keys_after("", "", 1_000)
    return {key: stored.body for key in keys if (stored := bucket.get(key))}

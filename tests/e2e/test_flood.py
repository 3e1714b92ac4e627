"""A short flood of all that hurts, on a real process: memory stays within the stated limits, and it serves on."""

import asyncio

import pytest

from benchmarks import floods
from benchmarks.hostile import HOSTILE, Target, callers
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc

pytestmark = pytest.mark.e2e

SECONDS = 3.0


async def flooded(target: Target, pid: int) -> tuple[int, int]:
    """The process's memory before, and at most during the flood."""
    await floods.until_ready(target)
    before = most = floods.rss(pid)
    flood = asyncio.ensure_future(callers(target, HOSTILE, SECONDS))
    while not flood.done():
        await asyncio.wait({flood}, timeout=0.02)
        most = max(most, floods.rss(pid))
    assert flood.result() >= len(HOSTILE)
    async with target.channel() as channel:
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        request = queue_pb2.SubmitJobRequest(payload=b"{}", type="honest")
        assert (await queue.SubmitJob(request, metadata=target.metadata, timeout=30)).job_id
    return before, most


def test_a_flood_takes_no_more_than_the_limits_say(tmp_path):
    with floods.serving(tmp_path) as (target, process):
        before, most = asyncio.run(flooded(target, process.pid))
        assert most - before < floods.FACTOR * floods.STATED
        assert process.poll() is None

"""Streams end when the server stops, and leave nothing behind when their callers go."""

import asyncio
import gc
from typing import Any

import pytest

from osqueue_service.errors import NotLeader
from osqueue_service.rpc.shutdown import Shutdown


async def test_a_stream_that_is_open_when_the_server_stops_is_sent_away() -> None:
    shutdown = Shutdown()
    stream = asyncio.ensure_future(shutdown.until(asyncio.Event().wait()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    shutdown.announce()
    with pytest.raises(NotLeader):
        await stream


async def test_a_write_that_fails_because_the_caller_went_is_no_complaint() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def write() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("the write failed") from None

    stream = asyncio.ensure_future(Shutdown().until(write()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    del stream
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []

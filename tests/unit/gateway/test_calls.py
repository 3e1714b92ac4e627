"""What is under way, and how it ends when the gateway stops."""

import asyncio
from typing import Any

import pytest

from osqueue.errors import BrokerProtocolError
from osqueue_gateway.broker import Broker
from osqueue_gateway.calls import Calls
from osqueue_gateway.limits import Limits
from osqueue_protocol.rpcs import RPCS
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.integration.gateway.scripted import ScriptedLink, until

GET_STATS = RPCS["GetStats"]


class Gated:
    """A link whose answers wait for a gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.link = ScriptedLink(GetStats=self._answer)
        self.calls = Calls(Broker(self.link), Limits())

    async def _answer(self, request: Any) -> queue_pb2.GetStatsResponse:
        await self.gate.wait()
        return queue_pb2.GetStatsResponse()


async def test_finished_returns_when_the_last_call_has_its_answer() -> None:
    gated = Gated()
    call = asyncio.ensure_future(gated.calls.call(GET_STATS, queue_pb2.GetStatsRequest()))
    await until(lambda: gated.link.asked)
    finished = asyncio.ensure_future(gated.calls.finished())
    await asyncio.sleep(0)
    assert not finished.done()
    gated.gate.set()
    await call
    await finished
    await gated.calls.finished()


async def test_a_call_that_outlasts_the_patience_still_has_its_answer() -> None:
    gated = Gated()
    call = asyncio.ensure_future(gated.calls.call(GET_STATS, queue_pb2.GetStatsRequest()))
    await until(lambda: gated.link.asked)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await gated.calls.finished()
    gated.gate.set()
    assert await call == queue_pb2.GetStatsResponse()


async def test_a_request_too_large_for_the_broker_is_refused_before_it_is_sent() -> None:
    calls = Gated().calls
    request = queue_pb2.SubmitJobsRequest(jobs=[{"payload": b"x" * 1_000_000}] * 5)
    with pytest.raises(BrokerProtocolError) as refused:
        calls.require_size(request, 5_000_000)
    assert refused.value.reason == "PAYLOAD_TOO_LARGE"
    calls.require_size(queue_pb2.SubmitJobsRequest(jobs=[{"payload": b"x"}]), 5_000_000)

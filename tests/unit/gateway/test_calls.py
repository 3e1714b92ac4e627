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


CLAIM = queue_pb2.ClaimJobsRequest(worker_id="w", max_jobs=5, wait_ms=10_000)


class Leasing:
    """A broker that leases a job to each claim key, and whose first answer is on its way for ever."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.claims: list[queue_pb2.ClaimJobsRequest] = []
        self.link = ScriptedLink(ClaimJobs=self._claim, ReleaseJob=self._release)
        self.calls = Calls(Broker(self.link), Limits())

    async def _claim(self, request: queue_pb2.ClaimJobsRequest) -> queue_pb2.ClaimJobsResponse:
        asked = queue_pb2.ClaimJobsRequest()
        asked.CopyFrom(request)
        self.claims.append(asked)
        if request.wait_ms:
            await asyncio.Event().wait()
        return queue_pb2.ClaimJobsResponse(jobs=[{"job_id": "j", "lease_token": "t"}])

    async def _release(self, request: queue_pb2.ReleaseJobRequest) -> queue_pb2.ReleaseJobResponse:
        self.released.append(f"{request.job_id} {request.worker_id} {request.lease_token}")
        return queue_pb2.ReleaseJobResponse()

    async def abandon(self, **fields: str) -> None:
        """A caller claims, and goes."""
        request = queue_pb2.ClaimJobsRequest(**fields)
        request.MergeFrom(CLAIM)
        call = asyncio.ensure_future(self.calls.call(RPCS["ClaimJobs"], request))
        await until(lambda: self.claims)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await self.calls.finished()


async def test_what_a_claim_has_leased_is_given_back_when_its_caller_goes() -> None:
    broker = Leasing()
    await broker.abandon()
    first, again = broker.claims
    assert first.claim_key and (again.claim_key, again.wait_ms, again.max_jobs) == (first.claim_key, 0, 1)
    assert broker.released == ["j w t"]


async def test_a_caller_with_a_claim_key_of_its_own_may_come_back_for_its_leases() -> None:
    broker = Leasing()
    await broker.abandon(claim_key="mine")
    assert (len(broker.claims), broker.released) == (1, [])


async def test_what_a_claim_is_answered_when_the_gateway_stops_leases_nothing() -> None:
    broker = Leasing()
    request = queue_pb2.ClaimJobsRequest()
    request.CopyFrom(CLAIM)
    call = asyncio.ensure_future(broker.calls.call(RPCS["ClaimJobs"], request))
    await until(lambda: broker.claims)
    broker.calls.drain()
    assert await call == queue_pb2.ClaimJobsResponse()
    await broker.calls.finished()
    assert broker.released == ["j w t"]

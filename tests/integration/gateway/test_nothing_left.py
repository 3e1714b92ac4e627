"""Calls that the gateway refuses, or passes a refusal of, leave nothing behind that only a collection would free."""

import asyncio

import pytest

from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import broker_in_process
from tests.integration.gateway.gateways import HOST, gateway_and_broker, running
from tests.leftovers import left_by

QUEUE = "/osqueue.v1.QueueService/"

REFUSED = {
    "no JSON": ("POST", "/v1/jobs", "{"),
    "an unknown key": ("POST", "/v1/jobs", '{"payload": 1, "x": 2}'),
    "a wrong value": ("POST", "/v1/jobs", '{"payload": 1, "priority": 10000}'),
    "no such job": ("GET", "/v1/jobs/nope", None),
    "no such job to complete": ("POST", "/v1/jobs/nope/complete", '{"workerId": "w"}'),
    "no such job to wait for": ("GET", "/v1/jobs/nope/wait?waitMs=1", None),
    "no such job to retry": ("POST", "/v1/jobs/nope/retry", "{}"),
    "no such path": ("GET", "/nowhere", None),
    "not this method": ("DELETE", "/v1/jobs", None),
    "a bad query": ("GET", "/v1/jobs?pageSize=x", None),
    "a refused batch": ("POST", "/v1/batch/submit", '{"jobs": [{"payload": 1, "priority": 10000}]}'),
    "Connect: a wrong value": ("POST", QUEUE + "SubmitJob", '{"payload": "AA==", "priority": 10000}'),
    "Connect: no JSON": ("POST", QUEUE + "SubmitJob", "{"),
    "Connect: no such job": ("POST", QUEUE + "GetJob", '{"jobId": "nope"}'),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_of_a_refused_request(name: str) -> None:
    method, path, body = REFUSED[name]
    async with gateway_and_broker() as caller:

        async def refused() -> None:
            assert (await caller.ask(method, path, body)).status >= 400

        assert await left_by(refused) == {}


async def test_of_refused_frames_of_a_websocket() -> None:
    async with gateway_and_broker() as caller, caller.socket() as socket:

        async def refused() -> None:
            for frame in ("{", '{"id":1,"method":"nope"}', '{"id":2,"method":"getJob","params":{"jobId":"nope"}}'):
                await socket.send_str(frame)
                assert '"ok":false' in (await socket.receive(5)).data

        assert await left_by(refused) == {}


async def test_of_a_claim_that_waits_in_vain() -> None:
    async with gateway_and_broker() as caller:

        async def claimed() -> None:
            answer = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w", "waitMs": 1}')
            assert answer.json() == {}

        assert await left_by(claimed) == {}


async def test_of_a_full_queue() -> None:
    """Submits that travel in batches, each answered for itself."""
    async with broker_in_process(settings={"OSQUEUE_LIMIT_JOBS": "1"}) as broker:
        config = GatewayConfig(host=HOST, port=0, brokers=(broker.address,))
        async with running(config) as caller:
            await caller.post("/v1/jobs", '{"payload": 1}')

            async def refused() -> None:
                asked = [caller.ask("POST", "/v1/jobs", '{"payload": "' + "x" * 1_000 + '"}') for _ in range(5)]
                assert {each.status for each in await asyncio.gather(*asked)} == {429}

            assert await left_by(refused) == {}

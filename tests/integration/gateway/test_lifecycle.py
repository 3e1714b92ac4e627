"""Starting, stopping, and brokers that come and go."""

import asyncio
import os
import signal
import sys
from typing import Any

import aiohttp

from osqueue.errors import BrokerLeadershipError, TransportConnectionError
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.integration.gateway.gateways import HOST, Caller, running
from tests.integration.gateway.scripted import ScriptedLink, until

CLAIM = '{"workerId": "w", "waitMs": 20000}'
NOBODY = GatewayConfig(host=HOST, port=0, brokers=("127.0.0.1:1",), limits=Limits(outage_ms=100))


async def test_without_a_broker_the_gateway_lives_but_is_not_ready() -> None:
    async with running(NOBODY) as caller:
        assert (await caller.ask("GET", "/healthz")).status == 200
        for method, path, body in (
            ("GET", "/readyz", None),
            ("GET", "/v1/stats", None),
            ("POST", "/v1/jobs", '{"payload": 1}'),
            ("POST", "/v1/jobs/claim", CLAIM),
        ):
            asked = await caller.ask(method, path, body)
            assert (asked.status, asked.json()["_tag"]) == (503, "BrokerLeadershipError"), path
            assert asked.headers["Retry-After"] == "1"


async def test_the_broker_that_is_there_is_found() -> None:
    async with broker_in_process() as leader:
        config = GatewayConfig(host=HOST, port=0, brokers=("127.0.0.1:1", leader.address))
        async with running(config) as caller:
            assert (await caller.post("/v1/jobs", '{"payload": 1}')).keys() == {"jobId"}
            assert caller.gateway.broker.address == leader.address


async def test_a_change_of_leaders_is_a_delay_and_not_an_error() -> None:
    def answer(request: queue_pb2.SubmitJobsRequest) -> object:
        seen.append(request.request_id)
        if len(seen) < 3:
            return BrokerLeadershipError("not I", reason="NOT_LEADER")
        return queue_pb2.SubmitJobsResponse(
            results=[{"submitted": {"job_id": "j"}}], commit={"epoch": 2, "sequence": 7}
        )

    seen: list[str] = []
    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink(SubmitJobs=answer)) as caller:
        answered = await caller.post("/v1/jobs", '{"payload": 1, "priority": 1}')
        assert answered == {"jobId": "j", "deduplicated": False, "commit": {"epoch": 2, "sequence": 7}}
        assert len(set(seen)) == 1 and seen[0], "one request id, so that it happens once"


async def test_a_lost_answer_to_a_claim_is_not_asked_for_again() -> None:
    link = ScriptedLink(ClaimJob=TransportConnectionError("reset by peer", reason="UNAVAILABLE"))
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        asked = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w"}')
        assert (asked.status, asked.json()["_tag"]) == (503, "EngineStateError")
        assert asked.json()["reason"] == "OUTCOME_UNKNOWN"
        assert len(link.asked) == 1


async def test_an_unforeseen_error_is_logged_under_the_id_that_its_caller_sees(caplog) -> None:
    def broken(request: object) -> object:
        raise RuntimeError("a secret of ours")

    async with running(GatewayConfig(host=HOST, port=0), ScriptedLink(GetStats=broken)) as caller:
        asked = await caller.ask("GET", "/v1/stats")
        assert (asked.status, asked.json()["_tag"], asked.json()["reason"]) == (500, "EngineStateError", "INTERNAL")
        assert "secret" not in asked.json()["message"]
        assert asked.json()["message"].split()[-1] in caplog.text


async def test_health_checks_share_one_look() -> None:
    link = ScriptedLink()
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        await asyncio.gather(*(caller.ask("GET", "/readyz") for _ in range(20)))
        assert len(link.asked) < 10


async def test_concurrent_submits_share_batches_and_hear_of_their_own_errors(caller: Caller) -> None:
    bodies = ['{"payload": 1}', '{"payload": 2, "maxAttempts": 0}', '{"payload": 3}'] * 20
    asked = await asyncio.gather(*(caller.ask("POST", "/v1/jobs", body) for body in bodies))
    assert [answer.status for answer in asked] == [200, 400, 200] * 20
    batcher = caller.gateway.broker.batchers["SubmitJob"]
    assert batcher.items == 60 and batcher.batches < 30
    assert len({answer.json()["jobId"] for answer in asked if answer.status == 200}) == 40


async def test_a_submit_with_its_own_request_id_travels_alone() -> None:
    link = ScriptedLink()
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        await caller.post("/v1/jobs", '{"payload": 1, "requestId": "r"}')
        assert [(name, request.request_id) for name, request in link.asked] == [("SubmitJob", "r")]


async def test_stopping_ends_waiting_claims_with_an_empty_answer(caller: Caller) -> None:
    waiting = asyncio.ensure_future(caller.ask("POST", "/v1/jobs/claim", CLAIM))
    await until(lambda: caller.gateway.calls.waiting)
    await caller.gateway.stop()
    asked = await waiting
    assert (asked.status, asked.body, asked.headers["Connection"]) == (200, b"{}", "close")


async def test_stopping_ends_a_wait_for_a_job_with_the_job_as_it_is(caller: Caller) -> None:
    job = await caller.post("/v1/jobs", '{"payload": 1}')
    waiting = asyncio.ensure_future(caller.get(f"/v1/jobs/{job['jobId']}/wait?waitMs=20000"))
    await until(lambda: caller.gateway.calls.waiting)
    await caller.gateway.stop()
    answer = await waiting
    assert (answer["finished"], answer["job"]["status"]) == (False, "unclaimed")


async def test_stopping_lets_calls_finish() -> None:
    gate = asyncio.Event()

    async def answer(request: object) -> object:
        await gate.wait()
        return queue_pb2.SubmitJobsResponse(results=[{"submitted": {"job_id": "j"}}])

    link = ScriptedLink(SubmitJobs=answer)
    async with running(GatewayConfig(host=HOST, port=0), link) as caller:
        submitting = asyncio.ensure_future(caller.post("/v1/jobs", '{"payload": 1}'))
        await until(lambda: link.asked)
        stopping = asyncio.ensure_future(caller.gateway.stop())
        await until(lambda: caller.gateway.calls.draining)
        gate.set()
        assert await submitting == {"jobId": "j"}
        await stopping


async def test_calls_that_do_not_finish_are_cut_off() -> None:
    async def never(request: object) -> object:
        await asyncio.Event().wait()
        return None

    link = ScriptedLink(GetStats=never)
    config = GatewayConfig(host=HOST, port=0, limits=Limits(drain_ms=50))
    async with running(config, link) as caller:
        hanging = asyncio.ensure_future(caller.ask("GET", "/v1/stats"))
        await until(lambda: link.asked)
        async with asyncio.timeout(10):
            await caller.gateway.stop()
        (outcome,) = await asyncio.gather(hanging, return_exceptions=True)
        assert isinstance(outcome, Exception)


async def _until_under_way(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://{HOST}:{port}/metrics") as answer:
                if "osqueue_gateway_calls_waiting 1\n" in await answer.text():
                    return


async def test_a_gateway_of_its_own_stops_on_sigterm() -> None:
    async with broker_in_process() as broker:
        environment = {
            **os.environ,
            "BROKER_HOST": HOST,
            "BROKER_PORT": "0",
            "BROKER_GRPC_ADDRESSES": broker.address,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "osqueue_gateway", env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        async with asyncio.timeout(20):
            line = (await process.stderr.readline()).decode()
            port = int(line.split("http://127.0.0.1:")[1].split(",")[0])
            reader, writer = await asyncio.open_connection(HOST, port)
            body = CLAIM.encode()
            writer.write(
                b"POST /v1/jobs/claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await _until_under_way(port)
            process.send_signal(signal.SIGTERM)
            answer = await reader.read()
            assert await process.wait() == 0
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"{}")
        writer.close()


async def test_a_wrong_setting_stops_the_start_and_is_named() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "osqueue_gateway",
        env={**os.environ, "BROKER_PORT": "eighty"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert (process.returncode, b"BROKER_PORT" in errors) == (2, True)


async def test_a_change_that_may_have_been_made_is_not_said_to_have_had_no_effect() -> None:
    """The leader goes when it may have stored the job, and nobody leads after it."""
    outcomes = iter([TransportConnectionError("the connection broke")])

    def answer(request: Any) -> Any:
        return next(outcomes, BrokerLeadershipError("nobody leads", reason="NOT_LEADER"))

    link = ScriptedLink(SubmitJobs=answer, PauseTypes=answer, GetStats=answer)
    async with running(GatewayConfig(host=HOST, port=0, limits=Limits(outage_ms=100)), link) as caller:
        asked = await caller.ask("POST", "/v1/jobs", '{"payload": 1}')
        assert (asked.status, asked.json()["reason"]) == (503, "OUTCOME_UNKNOWN")
        assert "the connection broke" in asked.json()["message"]
        asked = await caller.ask("POST", "/v1/jobs", '{"payload": 1}')
        assert (asked.status, asked.json()["reason"]) == (503, "NOT_LEADER")
        outcomes = iter([TransportConnectionError("the connection broke")])
        asked = await caller.ask("GET", "/v1/stats")
        assert (asked.status, asked.json()["reason"]) == (503, "NOT_LEADER")

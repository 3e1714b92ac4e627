"""Clients that we did not write: curl, the websockets library, and @connectrpc/connect-node."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.integration.gateway.gateways import Caller
from tests.servers import REQUIRED

HERE = Path(__file__).parent
CONNECT_NODE = HERE.parents[2] / "build" / "connect-node"


async def output_of(*command: str, cwd: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() or output.decode()
    return output.decode()


async def curl(caller: Caller, path: str, body: str | None = None, *options: str) -> Any:
    """What `curl` prints for a call, as the documentation writes it."""
    sent = () if body is None else ("-d", body, "-H", "content-type: application/json")
    return json.loads(await output_of("curl", "-sS", "--fail-with-body", *sent, *options, caller.url + path))


async def test_curl_submits_works_and_looks(caller: Caller) -> None:
    job = await curl(caller, "/v1/jobs", '{"payload": {"to": "ada"}, "type": "email"}')
    claim = await curl(caller, "/v1/jobs/claim", '{"workerId": "w1", "waitMs": 10000}')
    assert (claim["jobId"], claim["payload"]) == (job["jobId"], {"to": "ada"})
    held = json.dumps({"workerId": "w1", "leaseToken": claim["leaseToken"], "result": {"sent": True}})
    await curl(caller, f"/v1/jobs/{job['jobId']}/complete", held)
    found = await curl(caller, f"/v1/jobs/{job['jobId']}")
    assert (found["job"]["status"], found["job"]["result"]) == ("completed", {"sent": True})
    assert (await curl(caller, "/v1/stats"))["completedTotal"] == 1


async def test_curl_is_told_to_go_on_with_a_large_body(caller: Caller) -> None:
    """Above a megabyte curl waits for `100 Continue`, or a second."""
    jobs = json.dumps({"jobs": [{"payload": "x" * 500_000}] * 4})
    file = ("--expect100-timeout", "30", "-H", "Expect: 100-continue", "--data-binary", "@-")
    process = await asyncio.create_subprocess_exec(
        "curl",
        "-sS",
        "-m",
        "10",
        *file,
        "-H",
        "content-type: application/json",
        caller.url + "/v1/batch/submit",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(jobs.encode())
    assert len(json.loads(output)["results"]) == 4


async def test_the_websockets_library(caller: Caller) -> None:
    url = caller.url.replace("http", "ws") + "/v1/ws"
    async with websockets.connect(url) as socket:
        payload = '{"z": 1,  "a": 10000000000000000000000000000000000000001}'
        for number in range(100):
            await socket.send(f'{{"id": {number}, "method": "submitJob", "params": {{"payload": {payload}}}}}')
        answers = [json.loads(await socket.recv()) for _ in range(100)]
        assert {answer["id"] for answer in answers} == set(range(100))
        assert len({answer["result"]["jobId"] for answer in answers}) == 100
        await socket.send('{"id": "c", "method": "claimJob", "params": {"workerId": "w"}}')
        assert f'"payload":{payload},' in await socket.recv()
        await socket.ping()
    assert (await caller.get("/v1/stats"))["total"] == 100


@pytest.mark.skipif(
    not (REQUIRED or (CONNECT_NODE / "generated_from").exists()),
    reason="connect-node is not installed: run scripts/install_connect_node.sh",
)
@pytest.mark.parametrize("codec", ["binary", "json"])
async def test_an_unmodified_connect_client(caller: Caller, codec: str) -> None:
    program = CONNECT_NODE / f"client-{codec}.mjs"  # beside its node_modules, where node looks for them
    program.write_text((HERE / "connect_client.mjs").read_text())
    seen = json.loads(await output_of("node", program.name, caller.url, codec, cwd=CONNECT_NODE))
    assert seen["sameJob"] is True
    assert (seen["payload"], seen["type"], seen["attempt"]) == ('{"n": 12345678901234567890}', "email", "1")
    assert seen["none"] is None
    assert seen["refused"]["code"] == "InvalidArgument"
    assert seen["refused"]["details"] == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
    assert (seen["missing"]["code"], seen["missing"]["details"]) == ("NotFound", ["google.rpc.ErrorInfo"])
    assert seen["late"]["code"] == "DeadlineExceeded"
    assert seen["bidi"] != "no error"
    assert (seen["jobs"], bool(seen["broker"])) == (["in_progress"], True)
    assert (seen["events"], seen["left"]) == (["sms"], "Canceled")
    assert seen["completed"] is True

"""The topology of deploy/: as a script, and what the file of the containers says."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from osqueue import OsqueueClient
from osqueue_cli.cli import SECTIONS
from osqueue_cli.commands.gateway import VARIABLES
from osqueue_service.config import known_settings
from tests import servers

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 90
END_LIMIT_S = 20


@pytest.fixture
async def topology(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """What the script says once all is ready; afterwards everything it started is gone."""
    try:
        servers.installed("SeaweedFS", "bin/weed")
    except servers.NotInstalled as missing:
        pytest.fail(str(missing), pytrace=False) if servers.REQUIRED else pytest.skip(str(missing))
    script = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "scripts/run_topology.py", "--folder", tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert script.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            said = json.loads(await script.stdout.readline())
        yield said
    finally:
        script.send_signal(signal.SIGTERM)
        async with asyncio.timeout(END_LIMIT_S):
            assert await script.wait() == 0
    for pid in (said["gatewayPid"], *(broker["pid"] for broker in said["brokers"])):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def _leader(session: aiohttp.ClientSession, topology: dict[str, Any]) -> dict[str, Any]:
    leaders = []
    for broker in topology["brokers"]:
        async with session.get(f"http://{broker['metrics']}/readyz") as answer:
            if (await answer.json())["status"] == "leader":
                leaders.append(broker)
    (leader,) = leaders
    return leader


async def test_a_job_goes_through_gateway_and_broker_and_survives_the_leader(topology: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as stranger, stranger.get(f"{topology['gateway']}/v1/stats") as answer:
        assert answer.status == 401
    headers = {"Authorization": f"Bearer {topology['token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def submit(to: str) -> str:
            body = {"type": "email", "payload": {"to": to}, "idempotencyKey": to}
            async with session.post(f"{topology['gateway']}/v1/jobs", json=body) as answer:
                assert answer.status == 200, await answer.text()
                return str((await answer.json())["jobId"])

        before = await submit("ada")
        leader = await _leader(session, topology)
        os.kill(leader["pid"], signal.SIGTERM)
        addresses = [broker["address"] for broker in topology["brokers"]]
        async with OsqueueClient(addresses, token=topology["token"], retry_delay_ms=100) as client:
            job = await client.claim_job("worker", ["email"], wait_ms=5_000)
            assert job is not None and job.job_id == before
            await client.complete_job(job, "sent")
        after = await submit("grace")
        assert after != before
        async with session.get(f"{topology['gateway']}/v1/jobs/{before}") as answer:
            assert (await answer.json())["job"]["status"] == "completed"


# --- containers -------------------------------------------------------------------------------------------------------

COMPOSE = (ROOT / "deploy/compose.yaml").read_text()

# Settings of others than ours.
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"}


def test_the_containers_are_given_settings_that_exist() -> None:
    given = set(re.findall(r"^\s+([A-Z][A-Z0-9_]+):", COMPOSE, re.MULTILINE))
    known = set(known_settings()) | set(VARIABLES.values()) | {"LOG_FORMAT"} | FOREIGN
    assert {"S3_ENDPOINT_URL", "BROKER_GRPC_ADDRESSES"} <= given
    assert given <= known


def test_the_containers_run_commands_that_exist() -> None:
    commands = set(re.findall(r"^\s+command: (\S+)$", COMPOSE, re.MULTILINE))
    assert commands and commands <= set(SECTIONS["Run a queue"])


def test_a_shared_bucket_needs_addresses_and_they_are_there() -> None:
    for number in (1, 2):
        assert f"BROKER_ADVERTISE_ADDRESS: broker-{number}:8081" in COMPOSE
    assert "BROKER_GRPC_ADDRESSES: broker-1:8081,broker-2:8081" in COMPOSE

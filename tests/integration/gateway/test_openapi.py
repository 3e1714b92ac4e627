"""/openapi.json and /docs are true: what they promise is what the gateway does."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from osqueue_gateway.routes import ROUTES
from tests.integration.gateway.gateways import Caller

HOOKS = Path(__file__).parent / "schemathesis_hooks.py"
SEED = os.environ.get("OSQUEUE_SCHEMATHESIS_SEED", "20250607")

# What JSON schema cannot say (sizes in bytes, which statuses a call takes) makes some valid requests 400.
NOT_CHECKED = "positive_data_acceptance"
# Events never end, and a broker that stepped down would answer nothing more.
LEFT_OUT = ("/v1/events", "/v1/admin/step-down")


async def test_schemathesis_finds_no_difference(caller: Caller, tmp_path: Path) -> None:
    left_out = (f"--exclude-path={path}" for path in LEFT_OUT)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        "run",
        caller.url + "/openapi.json",
        "--checks=all",
        f"--exclude-checks={NOT_CHECKED}",
        *left_out,
        "--phases=coverage,fuzzing",
        "--max-examples=8",
        f"--seed={SEED}",
        "--no-color",
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    print(f"seed {SEED}")
    assert process.returncode == 0, f"seed {SEED}\n{output.decode()[-20_000:]}"
    assert (await caller.ask("GET", "/readyz")).status == 200


async def test_every_route_is_described(caller: Caller) -> None:
    document = await caller.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert len(operation["description"]) > 20
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(set(identifiers)) == len(identifiers)


async def test_every_reference_leads_somewhere(caller: Caller) -> None:
    text = (await caller.ask("GET", "/openapi.json")).body.decode()
    schemas = json.loads(text)["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == schemas.keys()
    assert all(schema["properties"] is not None for schema in schemas.values())


async def test_the_docs_need_nothing_from_elsewhere(caller: Caller) -> None:
    asked = await caller.ask("GET", "/docs")
    page = asked.body.decode()
    assert asked.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = asked.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.findall(r"<(script|img|link|iframe)|src=|url\(|@import|https?://", page)
    for route in ROUTES:
        assert route.path in page


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/metrics"])
async def test_pages_are_read_only(caller: Caller, path: str) -> None:
    asked = await caller.ask("POST", path, "{}")
    assert (asked.status, asked.headers["Allow"]) == (405, "GET")


async def test_metrics_count_calls_by_transport(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payload": 1}')
    await caller.ask("POST", "/v1/jobs", "{")
    await caller.ask("POST", "/osqueue.v1.QueueService/GetStats", "{}")
    page = (await caller.ask("GET", "/metrics")).body.decode()
    assert 'osqueue_gateway_requests_total{transport="rest",call="SubmitJob",status="200"} 1' in page
    assert 'osqueue_gateway_requests_total{transport="rest",call="SubmitJob",status="400"} 1' in page
    assert 'osqueue_gateway_requests_total{transport="connect",call="GetStats",status="200"} 1' in page
    for line in page.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z_]+(\{[^}]*\})? [0-9.e+-]+", line), line

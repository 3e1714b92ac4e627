"""The newer REST routes: each reaches its RPC and shows its answer."""

import asyncio
import json

import pytest

from osqueue_gateway.routes import ROUTES, Route
from tests.integration.gateway.gateways import Caller


async def claimed(caller: Caller) -> dict[str, str]:
    await caller.post("/v1/jobs", '{"payload": 1}')
    return await caller.post("/v1/jobs/claim", '{"workerId": "w"}')


async def test_a_batch_of_jobs_goes_through_its_life(caller: Caller) -> None:
    answer = await caller.post("/v1/batch/submit", '{"jobs": [{"payload": 1}, {"payload": {"a": 2}, "type": "t"}]}')
    ids = [result["submitted"]["jobId"] for result in answer["results"]]
    claims = (await caller.post("/v1/batch/claim", '{"workerId": "w", "maxJobs": 5}'))["jobs"]
    assert [claim["jobId"] for claim in claims] == ids
    assert [claim["payload"] for claim in claims] == [1, {"a": 2}]
    leases = [{"jobId": claim["jobId"], "workerId": "w", "leaseToken": claim["leaseToken"]} for claim in claims]
    beats = await caller.post("/v1/batch/heartbeat", json.dumps({"heartbeats": leases}))
    assert all(result["renewed"]["leaseExpiresAt"] for result in beats["results"])
    done = await caller.post("/v1/batch/complete", json.dumps({"completions": [*leases, {"jobId": "none"}]}))
    assert ["completed" in result for result in done["results"]] == [True, True, False]
    assert done["results"][2]["error"]["reason"] in ("JOB_NOT_FOUND", "INVALID_REQUEST")


async def test_a_result_is_read_back_as_it_was_written(caller: Caller) -> None:
    claim = await claimed(caller)
    body = f'{{"workerId": "w", "leaseToken": "{claim["leaseToken"]}", "result": {{"sum":  1e2, "Sum": [ ]}}}}'
    await caller.post(f"/v1/jobs/{claim['jobId']}/complete", body)
    asked = await caller.ask("GET", f"/v1/jobs/{claim['jobId']}")
    assert b'"result":{"sum":  1e2, "Sum": [ ]}' in asked.body
    assert asked.json()["job"]["status"] == "completed"
    waited = await caller.get(f"/v1/jobs/{claim['jobId']}/wait?waitMs=1000")
    assert (waited["finished"], waited["job"]["id"]) == (True, claim["jobId"])


async def test_bytes_that_are_not_json_travel_in_base64(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payloadBase64": "/wAB"}')
    claim = await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    assert claim["payloadBase64"] == "/wAB"
    assert "payload" not in claim


async def test_base64_that_holds_json_comes_back_as_json(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payloadBase64": "eyJhIjogMX0="}')
    asked = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w"}')
    assert b'"payload":{"a": 1}' in asked.body


async def test_a_failure_with_its_error_is_in_the_history(caller: Caller) -> None:
    claim = await claimed(caller)
    lease = {"workerId": "w", "leaseToken": claim["leaseToken"]}
    error = {"type": "ValueError", "message": "no such address"}
    body = json.dumps({**lease, "error": error, "retryable": False})
    failed = await caller.post(f"/v1/jobs/{claim['jobId']}/fail", body)
    assert failed["status"] == "dead"
    job = (await caller.get(f"/v1/jobs/{claim['jobId']}"))["job"]
    assert job["error"] == error
    assert [(attempt["number"], attempt["outcome"]) for attempt in job["history"]] == [(1, "FAILED")]


async def test_a_released_job_is_ready_again(caller: Caller) -> None:
    claim = await claimed(caller)
    body = json.dumps({"workerId": "w", "leaseToken": claim["leaseToken"]})
    assert (await caller.post(f"/v1/jobs/{claim['jobId']}/release", body))["status"] == "unclaimed"


async def test_a_waiting_claim_is_answered_when_a_job_comes(caller: Caller) -> None:
    async def claim() -> dict[str, str]:
        return await caller.post("/v1/jobs/claim", '{"workerId": "w", "waitMs": 20000}')

    waiting = asyncio.ensure_future(claim())
    while caller.gateway.calls.waiting == 0:
        await asyncio.sleep(0)
    job = await caller.post("/v1/jobs", '{"payload": 1}')
    assert (await waiting)["jobId"] == job["jobId"]


async def test_lists_are_filtered_by_the_query(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payload": 1, "type": "a", "metadata": {"team": "x=y"}}')
    await caller.post("/v1/jobs", '{"payload": 2, "type": "b"}')
    by_type = await caller.get("/v1/jobs?types=a&types=c&view=BASIC")
    assert [job["type"] for job in by_type["jobs"]] == ["a"]
    assert "payload" not in by_type["jobs"][0] and by_type["jobs"][0]["payloadBytes"] == 1
    by_label = await caller.get("/v1/jobs?metadata=team%3Dx=y")
    assert [job["type"] for job in by_label["jobs"]] == ["a"]
    page = await caller.get("/v1/jobs?pageSize=1")
    rest = await caller.get(f"/v1/jobs?pageSize=1&pageToken={page['nextPageToken']}")
    assert [job["type"] for job in page["jobs"] + rest["jobs"]] == ["a", "b"]


async def test_an_error_in_the_broker_names_the_field_as_json_has_it(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs", '{"payload": 1, "maxAttempts": 0}')
    assert (asked.status, asked.json()["_tag"]) == (400, "BrokerProtocolError")
    assert [violation["field"] for violation in asked.json()["violations"]] == ["maxAttempts"]


async def test_a_missing_payload_is_refused_by_name(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs", "{}")
    assert asked.status == 400
    assert [violation["field"] for violation in asked.json()["violations"]] == ["payload"]


async def test_a_payload_beyond_the_limit_is_413(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs", '{"payload": "' + "x" * (1024 * 1024) + '"}')
    assert (asked.status, asked.json()["reason"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_an_idempotency_key_with_other_content_is_409(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payload": 1, "idempotencyKey": "k"}')
    asked = await caller.ask("POST", "/v1/jobs", '{"payload": 2, "idempotencyKey": "k"}')
    assert (asked.status, asked.json()["_tag"]) == (409, "IdempotencyConflictError")


UNARY = [route for route in ROUTES if not route.rpc.server_streaming]


@pytest.mark.parametrize("route", UNARY, ids=lambda route: f"{route.method} {route.path}")
async def test_every_row_is_answered_or_refused_with_a_tag(caller: Caller, route: Route) -> None:
    job = await caller.post("/v1/jobs", '{"payload": 1}')
    path = route.path.replace("{id}", job["jobId"])
    body = None if route.method == "GET" else "{}"
    asked = await caller.ask(route.method, path, body)
    assert asked.status in (200, 204, 400, 404, 409, 501), asked.body
    if asked.status >= 400:
        assert asked.json().keys() >= {"_tag", "message", "reason"}


async def test_head_is_get_without_a_body(caller: Caller) -> None:
    asked = await caller.ask("HEAD", "/v1/stats")
    assert (asked.status, asked.body) == (200, b"")
    assert int(asked.headers["Content-Length"]) > 0


async def test_the_answers_of_a_kept_alive_http_1_0_connection_are_plain(caller: Caller) -> None:
    reader, writer = await caller.connection()
    request = b"GET /v1/stats HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    for _ in range(2):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["total"] == 0
    writer.close()

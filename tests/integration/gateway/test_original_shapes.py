"""The shapes that clients of the original osqueue rely on, to the letter."""

from tests.integration.gateway.gateways import Caller

STATS = {"total", "unclaimed", "inProgress", "completedTotal", "brokerAddress"}


async def test_a_submit_answers_with_the_job_id_alone(caller: Caller) -> None:
    for body in (
        '{"payload": {"n": 1}}',
        '{"payload": {"n": 1}, "type": "email"}',
        '{"payload": {"n": 1}, "type": "email", "maxAttempts": 5}',
    ):
        answer = await caller.post("/v1/jobs", body)
        assert answer.keys() == {"jobId"}
        assert isinstance(answer["jobId"], str)


async def test_newer_fields_of_a_submit_are_answered_with_all_there_is_to_know(caller: Caller) -> None:
    answer = await caller.post("/v1/jobs", '{"payload": 1, "idempotencyKey": "k"}')
    assert answer.keys() == {"jobId", "deduplicated", "commit"}
    again = await caller.post("/v1/jobs", '{"payload": 1, "idempotencyKey": "k"}')
    assert (again["jobId"], again["deduplicated"]) == (answer["jobId"], True)


async def test_a_claim_has_the_type_only_when_there_is_one(caller: Caller) -> None:
    plain = await caller.post("/v1/jobs", '{"payload": [1,  2]}')
    typed = await caller.post("/v1/jobs", '{"payload": "x", "type": "email"}')
    first = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w"}')
    assert first.status == 200
    assert b'"payload":[1,  2]' in first.body
    assert first.json()["jobId"] == plain["jobId"]
    assert "type" not in first.json()
    second = await caller.post("/v1/jobs/claim", '{"workerId": "w", "types": ["email"]}')
    assert (second["jobId"], second["payload"], second["type"]) == (typed["jobId"], "x", "email")


async def test_a_claim_on_an_empty_queue_is_an_empty_object(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w"}')
    assert (asked.status, asked.body) == (200, b"{}")
    assert (await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w", "types": []}')).body == b"{}"


async def test_heartbeat_and_complete_answer_with_nothing(caller: Caller) -> None:
    job = await caller.post("/v1/jobs", '{"payload": 1}')
    await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    for verb in ("heartbeat", "complete"):
        asked = await caller.ask("POST", f"/v1/jobs/{job['jobId']}/{verb}", '{"workerId": "w"}')
        assert (asked.status, asked.body) == (204, b"")


async def test_who_shows_the_lease_token_is_answered(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payload": 1}')
    claim = await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    shown = f'{{"workerId": "w", "leaseToken": "{claim["leaseToken"]}"}}'
    renewed = await caller.post(f"/v1/jobs/{claim['jobId']}/heartbeat", shown)
    assert renewed.keys() == {"leaseExpiresAt", "cancelRequested", "position"}
    assert renewed["leaseExpiresAt"] >= claim["leaseExpiresAt"]
    completed = await caller.post(f"/v1/jobs/{claim['jobId']}/complete", shown)
    assert completed.keys() == {"commit"}


async def test_stats(caller: Caller) -> None:
    await caller.post("/v1/jobs", '{"payload": 1}')
    stats = await caller.get("/v1/stats")
    assert stats.keys() >= STATS
    assert (stats["total"], stats["unclaimed"], stats["inProgress"], stats["completedTotal"]) == (1, 1, 0, 0)


async def test_the_list_has_zeros_but_neither_type_nor_worker_when_unset(caller: Caller) -> None:
    job = await caller.post("/v1/jobs", '{"payload": {"b":1, "a": 100000000000000000000000000001}}')
    asked = await caller.ask("GET", "/v1/jobs")
    assert b'"payload":{"b":1, "a": 100000000000000000000000000001}' in asked.body
    listed = asked.json()
    assert listed.keys() >= STATS | {"jobs"}
    (found,) = listed["jobs"]
    assert found["id"] == job["jobId"]
    assert (found["status"], found["attempts"], found["maxAttempts"], found["heartbeat"]) == ("unclaimed", 0, 0, 0)
    assert not found.keys() & {"type", "workerId"}
    await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    (found,) = (await caller.get("/v1/jobs"))["jobs"]
    assert (found["status"], found["workerId"], found["attempts"]) == ("in_progress", "w", 1)
    assert found["heartbeat"] > 0


async def test_the_state_has_keys_only_when_they_are_set(caller: Caller) -> None:
    assert (await caller.get("/state"))["jobs"] == []
    plain = await caller.post("/v1/jobs", '{"payload": {"z":1,"a":2}}')
    await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    await caller.post("/v1/jobs", '{"payload": 2, "type": "email", "maxAttempts": 7}')
    asked = await caller.ask("GET", "/state")
    assert b'"payload":{"z":1,"a":2}' in asked.body
    state = asked.json()
    assert list(state) == ["broker", "brokerHeartbeat", "jobs", "completedTotal"]
    assert state["broker"] and state["brokerHeartbeat"] > 0
    running, waiting = state["jobs"]
    assert running.keys() == {"id", "status", "payload", "createdAt", "attempts", "workerId", "heartbeat"}
    assert (running["id"], running["status"], running["attempts"]) == (plain["jobId"], "in_progress", 1)
    assert waiting.keys() == {"id", "status", "payload", "createdAt", "attempts", "type", "maxAttempts"}
    assert (waiting["type"], waiting["maxAttempts"]) == ("email", 7)


async def test_health(caller: Caller) -> None:
    asked = await caller.ask("GET", "/healthz")
    assert (asked.status, asked.body) == (200, b'{"status":"ok"}')
    assert (await caller.ask("GET", "/readyz")).status == 200


async def test_throttling_is_off_by_default(caller: Caller) -> None:
    assert await caller.get("/v1/throttle-stats") == {"throttling": False}


async def test_errors_have_tag_message_and_reason(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs/none/complete", '{"workerId": "w"}')
    assert asked.status == 404
    assert asked.json()["_tag"] == "JobNotFoundError"
    assert asked.json()["reason"] == "JOB_NOT_FOUND"
    assert isinstance(asked.json()["message"], str)


async def test_a_job_of_somebody_else_is_a_lost_lease(caller: Caller) -> None:
    job = await caller.post("/v1/jobs", '{"payload": 1}')
    await caller.post("/v1/jobs/claim", '{"workerId": "w"}')
    asked = await caller.ask("POST", f"/v1/jobs/{job['jobId']}/complete", '{"workerId": "other"}')
    assert (asked.status, asked.json()["_tag"]) == (409, "LeaseLostError")

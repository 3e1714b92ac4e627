"""Callers with tokens of their own: the gateway acts for each with its own rights."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator

import pytest

from osqueue_gateway.callers import FOR_S, Callers
from osqueue_gateway.config import GatewayConfig
from osqueue_protocol.rights import ROLES
from osqueue_protocol.rpcs import CLIENT_RPCS
from osqueue_service.testing.in_process import broker_in_process
from tests.integration.gateway.gateways import HOST, Asked, Caller, running

BOOT = "Bearer s3cret"
SOCKET = "osqueue.bearer."


class Door(Caller):
    """A gateway and a broker that ask for a token."""

    async def token(self, *scopes: str) -> str:
        asked = await self.ask("POST", "/v1/tokens", json.dumps({"scopes": scopes}), Authorization=BOOT)
        assert asked.status == 200, asked.body
        token: str = asked.json()["token"]
        return token

    async def asks(self, token: str, method: str, path: str, body: str | None = None) -> Asked:
        return await self.ask(method, path, body, Authorization=f"Bearer {token}")


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as broker:
        config = GatewayConfig(host=HOST, port=0, token="s3cret", brokers=(broker.address,))
        async with running(config) as caller:
            yield Door(caller.gateway, caller.session)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
async def test_a_role_opens_the_same_over_rest_and_connect(door: Door, role: str) -> None:
    # What is put on a schedule is submitted by it, and needs that right, too.
    scopes = {*ROLES[role], "submit"} if role == "operator" else {*ROLES[role]}
    token = await door.token(*scopes)
    for rpc in CLIENT_RPCS.values():
        opens = rpc.scope == "any" or rpc.scope in scopes
        if rpc.name in ("StepDown", "WatchJobs", "Work"):
            continue  # they end the leader, go on, or are not there
        for route in rpc.routes:
            path = route.path.replace("{id}", "nobody")
            asked = await door.asks(token, route.method, path, "{}" if route.method == "POST" else None)
            assert (asked.status == 403) == (not opens), (rpc.name, asked.body)
        asked = await door.asks(token, "POST", rpc.path, "{}")
        if not rpc.server_streaming:
            assert (asked.status == 403) == (not opens), (rpc.name, asked.body)


async def test_a_token_for_one_queue_opens_that_alone(door: Door) -> None:
    for name in ("billing", "other"):
        await door.ask("POST", "/v1/queues", json.dumps({"name": name}), Authorization=BOOT)
    token = await door.token("read@billing", "submit@billing")
    assert (await door.asks(token, "GET", "/v1/stats?queue=billing")).status == 200
    for path in ("/v1/stats", "/v1/stats?queue=other", "/metrics", "/v1/queues"):
        assert (await door.asks(token, "GET", path)).status == 403, path
    job = {"type": "a", "payload": 1}
    assert (await door.asks(token, "POST", "/v1/jobs", json.dumps({**job, "queue": "billing"}))).status == 200
    for other in ({}, {"queue": "other"}):
        assert (await door.asks(token, "POST", "/v1/jobs", json.dumps({**job, **other}))).status == 403


async def test_what_is_refused_says_which_scope_is_missing(door: Door) -> None:
    asked = await door.asks(await door.token("viewer"), "POST", "/v1/jobs", "not even JSON")
    assert (asked.status, asked.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert "SubmitJob needs the scope submit" in asked.json()["message"]


async def test_calls_of_different_callers_share_no_batch(door: Door) -> None:
    mail, text = await door.token("submit:mail"), await door.token("submit:text")
    body = json.dumps({"payload": 1, "type": "mail"})
    answers = await asyncio.gather(
        *(door.asks(token, "POST", "/v1/jobs", body) for token in (mail, text) for _ in range(20))
    )
    assert [each.status for each in answers] == [200] * 20 + [403] * 20


async def test_a_page_shows_its_token_when_it_opens_a_socket(door: Door) -> None:
    token = await door.token("read")
    protocol = SOCKET + urlsafe_b64encode(token.encode()).decode().rstrip("=")
    async with door.socket(protocols=["osqueue", protocol]) as socket:
        assert socket.protocol == "osqueue"
        for method, opens in (("getStats", True), ("purge", False)):
            await socket.send_str(json.dumps({"id": 1, "method": method, "params": {}}))
            said = json.loads((await socket.receive()).data)
            assert said["ok"] is opens
            assert opens or said["error"]["reason"] == "PERMISSION_DENIED"


async def test_a_wrong_token_is_refused_everywhere(door: Door) -> None:
    wrong = "osq_ghost_" + "a" * 26
    for path in ("/v1/stats", "/metrics", "/docs", "/v1/ws"):
        assert (await door.asks(wrong, "GET", path)).status == 401


async def test_without_the_right_to_read_there_are_no_figures(door: Door) -> None:
    assert (await door.asks(await door.token("submit"), "GET", "/metrics")).status == 403
    assert (await door.asks(await door.token("read"), "GET", "/metrics")).status == 200


async def test_a_revoked_token_is_refused_by_the_broker_at_once(door: Door) -> None:
    token = await door.token("read")
    assert (await door.asks(token, "GET", "/v1/stats")).status == 200
    token_id = token.split("_")[1]
    assert (await door.ask("POST", f"/v1/tokens/{token_id}/revoke", "{}", Authorization=BOOT)).status == 200
    assert (await door.asks(token, "GET", "/v1/stats")).status == 401


async def test_who_am_i(door: Door) -> None:
    mine = (await door.asks(await door.token("viewer"), "GET", "/v1/whoami")).json()
    assert mine["scopes"] == ["read"]
    boot = (await door.ask("GET", "/v1/whoami", Authorization=BOOT)).json()
    assert (boot["principal"], boot["scopes"]) == ("boot", ["admin"])


class Scripted:
    """Knows one token, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.scopes = ["read"]

    async def scopes_of(self, token: str) -> list[str]:
        self.asked += 1
        await asyncio.sleep(0)
        return self.scopes


async def test_a_caller_is_asked_about_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    scripted = Scripted()
    callers = Callers(scripted)
    first = await asyncio.gather(*(callers.of("osq_a") for _ in range(50)))
    assert scripted.asked == 1
    assert all(each.rights.may("read") for each in first)
    now[0] = FOR_S
    scripted.scopes = ["work"]
    assert not (await callers.of("osq_a")).rights.may("read")
    assert scripted.asked == 2

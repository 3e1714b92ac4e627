"""Who may call: tokens, other machines, hostile pages."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from osqueue.errors import ConfigError
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_protocol.callers import FORWARDING_HEADERS
from osqueue_service.testing.in_process import broker_in_process
from tests.integration.gateway.gateways import HOST, Caller, gateway_and_broker, running
from tests.integration.gateway.scripted import ScriptedLink

OURS = "https://dashboard.example"
SUBMIT = ("POST", "/v1/jobs", '{"payload": 1}')


@pytest.fixture
async def guarded() -> AsyncIterator[Caller]:
    config = GatewayConfig(host=HOST, port=0, token="s3cret", origins=(OURS,))
    async with running(config, ScriptedLink()) as caller:
        yield caller


@pytest.fixture
async def scripted() -> AsyncIterator[Caller]:
    """Without a token, one origin allowed."""
    async with running(GatewayConfig(host=HOST, port=0, origins=(OURS,)), ScriptedLink()) as caller:
        yield caller


def asked_of(caller: Caller) -> list[str]:
    link = caller.gateway.broker._link
    assert isinstance(link, ScriptedLink)
    return [name for name, _ in link.asked]


@pytest.mark.parametrize("shown", [None, "s3cret", "Bearer", "Bearer wrong", "Bearer s3cret x", "Basic s3cret"])
@pytest.mark.parametrize("path", ["/v1/stats", "/state", "/metrics", "/docs", "/openapi.json", "/v1/ws", "/nowhere"])
async def test_with_a_token_every_call_needs_it(guarded: Caller, shown: str | None, path: str) -> None:
    asked = await guarded.ask("GET", path, **({"Authorization": shown} if shown else {}))
    assert (asked.status, asked.json()["_tag"], asked.headers["WWW-Authenticate"]) == (401, "AuthError", "Bearer")
    assert asked.json()["reason"] == "UNAUTHENTICATED"
    assert asked_of(guarded) == []


async def test_mutations_need_it_before_anything_is_read(guarded: Caller) -> None:
    for path in ("/v1/jobs", "/osqueue.v1.QueueService/SubmitJob"):
        assert (await guarded.ask("POST", path, '{"payload": 1}')).status == 401
    assert asked_of(guarded) == []


async def test_connect_hears_of_the_token_in_its_own_words(guarded: Caller) -> None:
    asked = await guarded.ask("POST", "/osqueue.v1.QueueService/GetStats", "{}")
    assert asked.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("shown", ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret"])
async def test_the_token_opens(guarded: Caller, shown: str) -> None:
    assert (await guarded.ask("GET", "/v1/stats", Authorization=shown)).status == 200


async def test_two_authorizations_are_none(guarded: Caller) -> None:
    reader, writer = await guarded.connection()
    writer.write(b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n" + b"Authorization: Bearer s3cret\r\n" * 2 + b"\r\n")
    assert (await reader.readline()).split()[1] == b"401"
    writer.close()


async def test_a_token_makes_every_host_and_forwarding_welcome(guarded: Caller) -> None:
    headers = {"Authorization": "Bearer s3cret", "Host": "queue.example:443", "X_Forwarded_For": "203.0.113.7"}
    assert (await guarded.ask("GET", "/v1/stats", **headers)).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_for_everybody(guarded: Caller, path: str) -> None:
    for headers in (
        {},
        {"Host": "10.0.0.7:8080"},
        {"X_Forwarded_For": "203.0.113.7"},
        {"Origin": "https://evil.example"},
    ):
        assert (await guarded.ask("GET", path, **headers)).status == 200


async def test_the_token_goes_on_to_the_broker() -> None:
    async with broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as broker:
        config = GatewayConfig(host=HOST, port=0, brokers=(broker.address,), token="s3cret")
        async with running(config) as caller:
            assert (await caller.ask("GET", "/v1/stats", Authorization="Bearer s3cret")).status == 200
            assert (await caller.ask("GET", "/readyz")).status == 200


@pytest.mark.parametrize("header", sorted(FORWARDING_HEADERS))
async def test_without_a_token_a_forwarded_request_counts_as_remote(scripted: Caller, header: str) -> None:
    asked = await scripted.ask(*SUBMIT, **{header.replace("-", "_"): "127.0.0.1"})
    assert (asked.status, asked.json()["_tag"], asked.json()["reason"]) == (403, "AuthError", "PERMISSION_DENIED")
    assert "OSQUEUE_TOKEN" in asked.json()["message"]
    assert asked_of(scripted) == []


FOREIGN = [
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "10.0.0.7",
    "0.0.0.0",
    "[::2]",
    "127.0.0.1.nip.io",
]


@pytest.mark.parametrize("host", FOREIGN)
async def test_without_a_token_foreign_names_are_refused(scripted: Caller, host: str) -> None:
    asked = await scripted.ask(*SUBMIT, Host=host)
    assert (asked.status, asked.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert asked_of(scripted) == []


OWN = ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"]


@pytest.mark.parametrize("host", OWN)
async def test_names_of_this_machine_are_welcome(scripted: Caller, host: str) -> None:
    assert (await scripted.ask("GET", "/v1/stats", Host=host)).status == 200


async def test_remote_callers_may_be_allowed_knowingly() -> None:
    config = GatewayConfig(host=HOST, port=0, allow_remote=True, hosts=("queue.example",))
    async with running(config, ScriptedLink()) as caller:
        for host in ("queue.example", "QUEUE.example:8080", "10.0.0.7", "[2001:db8::7]:8080", "localhost"):
            asked = await caller.ask("GET", "/v1/stats", Host=host, X_Forwarded_For="203.0.113.7")
            assert asked.status == 200, host


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.nip.io", "queue.example.evil"])
async def test_allowing_remote_callers_does_not_let_a_page_rebind_its_name(host: str) -> None:
    """A page whose name resolves to this machine would be of the same origin as the gateway."""
    config = GatewayConfig(host=HOST, port=0, allow_remote=True, hosts=("queue.example",))
    async with running(config, ScriptedLink()) as caller:
        asked = await caller.ask(*SUBMIT, Host=host, Origin=f"http://{host}")
        assert (asked.status, asked.json()["reason"]) == (403, "PERMISSION_DENIED")
        assert "OSQUEUE_HOSTS" in asked.json()["message"]
        assert asked_of(caller) == []


FOREIGN_PAGES = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost@evil.example",
    "http://dashboard.example",
    OURS + ":8443",
    "null",
    OURS + "/",
]


@pytest.mark.parametrize("origin", FOREIGN_PAGES)
async def test_foreign_pages_may_not_call(scripted: Caller, origin: str) -> None:
    for method, path, body in (SUBMIT, ("GET", "/v1/stats", None), ("GET", "/v1/ws", None)):
        asked = await scripted.ask(method, path, body, Origin=origin)
        assert (asked.status, asked.json()["reason"]) == (403, "PERMISSION_DENIED")
        assert "Access-Control-Allow-Origin" not in asked.headers
    preflight = await scripted.ask("OPTIONS", "/v1/jobs", Origin=origin, Access_Control_Request_Method="POST")
    assert preflight.status == 403
    assert asked_of(scripted) == []


LOCAL_PAGES = ["http://localhost:5173", "http://127.0.0.1:3000", "https://localhost", "http://[::1]:8000"]


@pytest.mark.parametrize("origin", LOCAL_PAGES)
async def test_while_only_this_machine_is_served_its_own_pages_may_call(scripted: Caller, origin: str) -> None:
    preflight = await scripted.ask("OPTIONS", "/v1/jobs", Origin=origin, Access_Control_Request_Method="POST")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, origin)
    asked = await scripted.ask("GET", "/v1/stats", Origin=origin)
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (200, origin)


@pytest.mark.parametrize("settings", [{"token": "s3cret"}, {"allow_remote": True}])
async def test_where_others_are_served_too_they_are_foreign(settings: dict[str, Any]) -> None:
    async with running(GatewayConfig(host=HOST, port=0, **settings), ScriptedLink()) as caller:
        for origin in LOCAL_PAGES:
            asked = await caller.ask("GET", "/v1/stats", Origin=origin, Authorization="Bearer s3cret")
            assert asked.status == 403


async def test_a_page_of_an_allowed_origin_may_call(scripted: Caller) -> None:
    preflight = await scripted.ask("OPTIONS", "/v1/jobs", Origin=OURS, Access_Control_Request_Method="POST")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, OURS)
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    for method, path, body in (("GET", "/v1/stats", None), ("GET", "/v1/jobs/none!", None), ("GET", "/metrics", None)):
        asked = await scripted.ask(method, path, body, Origin=OURS)
        assert (asked.headers["Access-Control-Allow-Origin"], asked.headers["Vary"]) == (OURS, "Origin")
    connect = await scripted.ask("POST", "/osqueue.v1.QueueService/GetStats", "{}", Origin=OURS)
    assert (connect.status, connect.headers["Access-Control-Allow-Origin"]) == (200, OURS)
    async with scripted.socket(origin=OURS) as socket:
        await socket.send_str('{"id":1,"method":"getStats"}')
        assert '"ok":true' in (await socket.receive(5)).data


async def test_a_preflight_needs_no_token_but_the_call_does(guarded: Caller) -> None:
    preflight = await guarded.ask("OPTIONS", "/v1/jobs", Origin=OURS, Access_Control_Request_Method="POST")
    assert preflight.status == 204
    asked = await guarded.ask(*SUBMIT, Origin=OURS)
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (401, OURS)


async def test_our_own_pages_may_call(scripted: Caller) -> None:
    asked = await scripted.ask("GET", "/v1/stats", Origin=scripted.url)
    assert (asked.status, "Access-Control-Allow-Origin" in asked.headers) == (200, False)


async def test_a_foreign_page_gets_no_websocket(scripted: Caller) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await scripted.socket(origin="https://evil.example").__aenter__()
    assert refused.value.status == 403


async def test_a_gateway_on_all_interfaces_still_serves_this_machine() -> None:
    async with gateway_and_broker(host="0.0.0.0") as caller:
        assert (await caller.get("/v1/stats"))["total"] == 0


async def test_a_port_in_use_stops_the_start_with_the_reason(scripted: Caller) -> None:
    second = Gateway(GatewayConfig(host=HOST, port=scripted.gateway.port), link=ScriptedLink())
    with pytest.raises(ConfigError, match="cannot listen"):
        await second.start()

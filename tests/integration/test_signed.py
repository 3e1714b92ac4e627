"""Callers that an identity provider vouches for, against a live broker and gateway."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from osqueue import AuthError, OsqueueClient
from osqueue_gateway.config import GatewayConfig
from osqueue_protocol.callers import JWT_BYTES_MAX
from osqueue_service.errors import ConfigError
from osqueue_service.rpc.access.signed import fetching, keys
from osqueue_service.rpc.access.signed.fetching import DOCUMENT_BYTES_MAX, fetch
from osqueue_service.rpc.access.signed.keys import FetchError
from osqueue_service.testing.in_process import broker_in_process
from tests.integration.gateway.gateways import HOST, running
from tests.issuer import RSA_KEYS, TestIssuer, declared, written


@asynccontextmanager
async def serving(answer):
    """A server of HTTP on this machine that answers everything so; its address."""
    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/{path:.*}", answer)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield f"http://{HOST}:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def issuer():
    made = TestIssuer(now_s=time.time())

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await made.fetch(str(request.url)), content_type="application/json")

    async with serving(answer) as address:
        made.issuer, made.jwks = address, f"{address}/keys"
        yield made


@asynccontextmanager
async def trusting(issuer, tmp_path, **settings):
    """A broker that lets in whom the issuer vouches for, found by discovery."""
    rules = [
        {"claim": "groups", "value": "mail", "scopes": ["submit:mail.*", "read", "read.payload"]},
        {"claim": "groups", "value": "boss", "scopes": ["admin"]},
    ]
    file = tmp_path / "issuers.json"
    file.write_bytes(written(declared(issuer=issuer.issuer, keys="", rules=rules)))
    async with broker_in_process(settings={"OSQUEUE_ISSUERS_FILE": str(file), **settings}) as broker:
        yield broker


def calling(broker, token: bytes) -> OsqueueClient:
    return OsqueueClient(broker.address, token=token.decode(), retry_delay_ms=10)


async def test_the_claims_of_a_token_say_what_its_holder_may_do(issuer, tmp_path):
    async with trusting(issuer, tmp_path) as broker:
        async with calling(broker, issuer.token()) as ada:
            me = await ada.tokens.who_am_i()
            assert (me.principal, me.scopes) == ("corp:ada", ["read", "read.payload", "submit:mail.*"])
            await ada.submit_job("mail.send", 1)
            with pytest.raises(AuthError, match="may submit only jobs of mail"):
                await ada.submit_job("order", 1)
            with pytest.raises(AuthError, match="manage"):
                await ada.admin.pause(["mail.send"])
        async with calling(broker, issuer.token(sub="grace", groups=["boss"])) as grace:
            await grace.admin.pause(["mail.send"])
            (entry,) = [entry async for entry in grace.tokens.audit()]
            assert entry.principal == "corp:grace"


async def test_a_key_that_is_new_is_fetched_and_the_call_comes_through(issuer, tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "LOOK_MS", 0)
    async with trusting(issuer, tmp_path) as broker:
        issuer.keys = {"rsa-2": RSA_KEYS[1]}
        async with calling(broker, issuer.token("rsa-2")) as ada:
            assert (await ada.tokens.who_am_i()).principal == "corp:ada"


async def test_the_gateway_takes_the_same_tokens(issuer, tmp_path):
    async with trusting(issuer, tmp_path, OSQUEUE_TOKEN="s3cret") as broker:
        config = GatewayConfig(host=HOST, port=0, brokers=(broker.address,), token="s3cret")
        async with running(config) as gateway:
            shown = {"Authorization": f"Bearer {issuer.token().decode()}"}
            async with gateway.session.get(f"{gateway.url}/v1/whoami", headers=shown) as response:
                assert (response.status, (await response.json())["principal"]) == (200, "corp:ada")
            long = {"Authorization": f"Bearer {issuer.token(pad='x' * 5_500).decode()}"}
            async with gateway.session.get(f"{gateway.url}/v1/whoami", headers=long) as response:
                assert (response.status, "at most 7168 are taken" in await response.text()) == (401, True)
            forged = {"Authorization": f"Bearer {issuer.token(key=RSA_KEYS[1]).decode()}"}
            async with gateway.session.get(f"{gateway.url}/v1/whoami", headers=forged) as response:
                assert response.status == 401


async def test_the_longest_token_passes_and_a_longer_one_is_refused_in_words(issuer, tmp_path):
    async with trusting(issuer, tmp_path) as broker:
        pad = (JWT_BYTES_MAX - len(issuer.token(pad=""))) * 3 // 4
        async with calling(broker, issuer.token(pad="x" * (pad - 3))) as ada:
            assert (await ada.tokens.who_am_i()).principal == "corp:ada"
        async with calling(broker, issuer.token(pad="x" * (pad + 4))) as ada:
            with pytest.raises(AuthError, match=f"at most {JWT_BYTES_MAX} are taken"):
                await ada.tokens.who_am_i()


async def test_a_broker_does_not_start_with_a_file_that_it_cannot_take(tmp_path):
    file = tmp_path / "issuers.json"
    file.write_text(json.dumps({"issuers": [declared(algorithms=["HS256"])]}))
    for path, complaint in ((file, "algorithms: HS256"), (tmp_path / "none.json", "No such file")):
        with pytest.raises(ConfigError, match=complaint) as refusal:
            async with broker_in_process(settings={"OSQUEUE_ISSUERS_FILE": str(path)}):
                pass
        assert "OSQUEUE_ISSUERS_FILE" in str(refusal.value)


async def test_an_issuer_may_answer_what_it_likes(monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.3)

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/fits":
                return web.Response(body=b"x" * DOCUMENT_BYTES_MAX)
            case "/long":
                return web.Response(body=b"x" * (DOCUMENT_BYTES_MAX + 1))
            case "/away":
                raise web.HTTPFound("/fits")
            case "/slow":
                response = web.StreamResponse()
                await response.prepare(request)
                while True:
                    await response.write(b"x")
                    await asyncio.sleep(0.01)
        raise web.HTTPServiceUnavailable

    async with serving(answer) as address:
        assert len(await fetch(f"{address}/fits")) == DOCUMENT_BYTES_MAX
        for path, complaint in (
            ("long", "more than 262144 bytes"),
            ("away", "status 302"),
            ("slow", "within 0.3 s"),
            ("down", "status 503"),
        ):
            with pytest.raises(FetchError, match=complaint):
                await fetch(f"{address}/{path}")
    with pytest.raises(FetchError, match="ClientConnectorError"):
        await fetch(f"{address}/fits")

"""Where a client has its token from, and what it does when one is over."""

import asyncio
import time

import pytest

from osqueue import AuthError, ConfigError, OsqueueClient, Worker
from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import broker_in_process
from tests.integration.gateway.gateways import HOST, running

BOOT = "s3cret"


@pytest.fixture
async def broker():
    async with broker_in_process(settings={"OSQUEUE_TOKEN": BOOT}) as broker:
        yield broker


@pytest.fixture
async def boss(broker):
    async with OsqueueClient(broker.address, token=BOOT) as client:
        yield client


@pytest.fixture(params=["grpc", "rest", "ws"])
async def reach(request, broker):
    """How to make a client, over each transport."""
    config = GatewayConfig(host=HOST, port=0, brokers=(broker.address,), token=BOOT)
    async with running(config) as gateway:
        url = {"grpc": broker.address, "rest": gateway.url, "ws": gateway.url.replace("http", "ws")}[request.param]
        yield lambda **options: OsqueueClient(url, retry_delay_ms=10, **options)


async def test_a_provider_is_asked_once_in_a_while(boss, reach, monkeypatch):
    asked = []
    ada = await boss.tokens.create("ada", ["read"])

    async def provide():
        asked.append(time.monotonic())
        return ada.token

    async with reach(token=provide) as client:
        await asyncio.gather(*(client.get_stats() for _ in range(20)))
        assert len(asked) == 1


async def test_a_provider_may_be_a_plain_function(boss, reach):
    ada = await boss.tokens.create("ada", ["read"])
    async with reach(token=lambda: ada.token) as client:
        assert (await client.tokens.who_am_i()).principal == ada.info.id


async def test_a_token_that_is_over_is_followed_by_the_next_one_without_a_failed_call(boss, reach):
    tokens = [await boss.tokens.create(name, ["read"]) for name in ("first", "second")]
    given = [tokens[0]]
    async with reach(token=lambda: given[0].token) as client:
        assert (await client.tokens.who_am_i()).name == "first"
        given[0] = tokens[1]
        await boss.tokens.revoke(tokens[0].info.id)
        assert (await client.tokens.who_am_i()).name in ("first", "second")  # a gateway believes in it for 4 s
        await client.get_stats()


async def test_a_token_that_is_over_for_good_is_refused(boss, reach):
    with pytest.raises(AuthError, match=r"token is wrong|refused the socket: 401"):
        async with reach(token=lambda: "osq_nobody_aaaaaaaaaaaaaaaaaaaaaaaaaa") as client:
            await client.get_stats()


@pytest.mark.parametrize(
    ("provide", "complaint"),
    [
        (lambda: 7, "must give a token, and gave int"),
        (lambda: "", "must give a token"),
        (lambda: "a\nb", "must give a token"),
        (lambda: 1 / 0, "the token provider failed: ZeroDivisionError"),
    ],
)
async def test_a_provider_that_gives_none_is_told_of(reach, provide, complaint):
    async with reach(token=provide) as client:
        with pytest.raises(AuthError, match=complaint):
            await client.get_stats()


async def test_a_token_file_is_read_again(boss, broker, tmp_path):
    tokens = [await boss.tokens.create(name, ["read"]) for name in ("first", "second")]
    file = tmp_path / "token"
    file.write_text(tokens[0].token + "\n")
    async with OsqueueClient(broker.address, token_file=str(file), retry_delay_ms=10) as client:
        assert (await client.tokens.who_am_i()).name == "first"
        file.write_text(tokens[1].token)
        await boss.tokens.revoke(tokens[0].info.id)
        assert (await client.tokens.who_am_i()).name == "second"


async def test_the_environment_may_name_the_file(boss, broker, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(BOOT)
    monkeypatch.setenv("OSQUEUE_TOKEN_FILE", str(file))
    async with OsqueueClient(broker.address) as client:
        assert (await client.tokens.who_am_i()).principal == "boot"


async def test_a_worker_outlives_its_token(boss, broker):
    tokens = [await boss.tokens.create(name, ["work", "read"]) for name in ("first", "second")]
    given = [tokens[0]]
    async with OsqueueClient(broker.address, token=lambda: given[0].token, retry_delay_ms=10) as client:
        worker = Worker(client, {"double": lambda payload: payload * 2})
        task = asyncio.ensure_future(worker.run(handle_signals=False))
        assert await boss.submit_and_wait("double", 1) == 2
        given[0] = tokens[1]
        await boss.tokens.revoke(tokens[0].info.id)  # its stream ends
        assert await boss.submit_and_wait("double", 2) == 4
        worker.stop()
        await task


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"token": "a", "token_file": "b"}, "token and token_file: give one of them"),
        ({"token_file": "/none"}, "/none cannot be read: No such file"),
        ({"tls_ca_file": "/none"}, "/none cannot be read"),
        ({"tls_cert_file": "/none"}, "tls_cert_file and tls_key_file: give both, or neither"),
    ],
)
def test_what_cannot_be_taken_is_refused_at_once(options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        OsqueueClient(**options)


def test_an_empty_token_file_is_refused(tmp_path):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigError, match="must hold a token, and nothing else"):
        OsqueueClient(token_file=str(tmp_path / "token"))

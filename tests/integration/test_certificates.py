"""TLS with an authority of one's own: brokers, gateway, clients, certificates of callers, and new ones meanwhile."""

import asyncio
import json
import os
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession

from osqueue import AuthError, OsqueueClient, TransportConnectionError, TransportRequestError
from osqueue_gateway.certificates import Certificate
from osqueue_gateway.config import GatewayConfig
from osqueue_service.errors import ConfigError
from osqueue_service.rpc.access import document
from osqueue_service.rpc.access.document import DocumentError
from osqueue_service.rpc.certificates import Certificates
from osqueue_service.testing.in_process import broker_in_process
from tests.authority import Authority
from tests.integration.gateway.gateways import HOST, running


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def speaking(authority, name="broker", **other):
    """The settings of a broker that speaks TLS."""
    certificate, key = authority.sign(name)
    return {"OSQUEUE_TLS_CERT_FILE": certificate, "OSQUEUE_TLS_KEY_FILE": key, **other}


def address(broker):
    return f"grpcs://localhost:{broker.server.port}"


def calling(broker, authority, certificate=("", ""), **options):
    files = {"tls_ca_file": str(authority.file), "tls_cert_file": certificate[0], "tls_key_file": certificate[1]}
    return OsqueueClient(address(broker), **files, max_retries=0, timeout_ms=3_000, **options)


def renewed(path, other):
    """Another file in its place, as programs for certificates put it there."""
    os.replace(other, path)
    later = Path(path).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


async def test_an_authority_of_ones_own_is_trusted_instead_of_the_systems(authority):
    async with broker_in_process(settings=speaking(authority)) as broker:
        async with calling(broker, authority) as client:
            await client.submit_job("mail", 1)
        async with OsqueueClient(address(broker), max_retries=0) as stranger:
            with pytest.raises(TransportRequestError, match=r"the certificate of localhost:.* is not trusted"):
                await stranger.get_stats()


async def test_who_shows_no_certificate_of_the_callers_authority_is_not_connected(authority, tmp_path):
    (tmp_path / "others").mkdir()
    others = Authority(tmp_path / "others", "others")
    settings = speaking(authority, OSQUEUE_TLS_CLIENT_CA_FILE=str(authority.file))
    async with broker_in_process(settings=settings) as broker:
        async with calling(broker, authority, authority.sign("ada")) as client:
            await client.submit_job("mail", 1)
        for shown in (("", ""), others.sign("eve")):
            async with calling(broker, authority, shown) as client:
                with pytest.raises(TransportConnectionError):
                    await client.get_stats()


async def test_a_certificate_says_who_calls(authority, tmp_path):
    file = tmp_path / "access.json"
    rows = [{"id": "mailer", "names": ["spiffe://example.org/mailer"], "scopes": ["submit:mail.*", "read"]}]
    file.write_text(json.dumps({"tokens": [], "certificates": rows}))
    settings = speaking(authority, OSQUEUE_TLS_CLIENT_CA_FILE=str(authority.file), OSQUEUE_ACCESS_FILE=str(file))
    settings["OSQUEUE_TOKEN"] = "s3cret"
    mailer = authority.sign("mailer", "URI:spiffe://example.org/mailer,DNS:mailer")
    async with broker_in_process(settings=settings) as broker, calling(broker, authority, mailer) as client:
        assert (await client.tokens.who_am_i()).principal == "mailer"
        await client.submit_job("mail.send", 1)
        with pytest.raises(AuthError, match="may submit only jobs of mail"):
            await client.submit_job("order", 1)
        with pytest.raises(AuthError, match="PauseTypes needs the scope manage"):
            await client.admin.pause(["mail.send"])
        async with calling(broker, authority, mailer, token="s3cret") as boss:
            assert (await boss.tokens.who_am_i()).principal == "boot"  # a token that is shown counts
        async with calling(broker, authority, authority.sign("eve")) as eve:
            with pytest.raises(AuthError, match=r"names localhost, 127.0.0.1, which OSQUEUE_ACCESS_FILE does not"):
                await eve.tokens.who_am_i()
        watching = asyncio.ensure_future(anext(client.watch(types=["none"])))
        rows[0]["scopes"] = ["submit"]
        file.write_text(json.dumps({"tokens": [], "certificates": rows}))
        with pytest.raises(AuthError, match=r"is no longer let in as it was|needs the scope read"):
            await asyncio.wait_for(watching, 10)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"id": "A", "names": ["a"], "scopes": ["read"]}], "the id 'A'"),
        ([{"id": "aa", "names": [], "scopes": ["read"]}], "certificate aa: names must be one or more"),
        ([{"id": "aa", "names": ["x"], "scopes": ["reed"]}], "certificate aa: 'reed' is neither a scope nor a role"),
        ([{"id": each, "names": ["x"], "scopes": ["read"]} for each in ("aa", "bb")], "certificate bb: names must be"),
        ([{"id": "aa", "names": [each], "scopes": ["read"]} for each in ("x", "y")], "the id 'aa' is there twice"),
    ],
)
def test_wrong_declarations_are_named(rows, complaint):
    with pytest.raises(DocumentError, match=complaint):
        document.certificates(json.dumps({"tokens": [], "certificates": rows}).encode())


async def test_a_new_certificate_is_served_to_new_connections(authority, tmp_path):
    settings = speaking(authority)
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next", "following")
    certificate, key = following.sign("broker")
    async with broker_in_process(settings=settings) as broker, calling(broker, authority) as before:
        await before.get_stats()
        renewed(settings["OSQUEUE_TLS_CERT_FILE"], certificate)  # half of the pair: the one before goes on
        async with calling(broker, authority) as meanwhile:
            await meanwhile.get_stats()
        renewed(settings["OSQUEUE_TLS_KEY_FILE"], key)
        async with calling(broker, following) as after:
            await after.get_stats()
        await before.get_stats()  # a connection that is open stays


async def test_the_gateway_serves_https_and_a_new_certificate(authority, tmp_path):
    certificate, key = authority.sign("gateway")
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next", "following")
    async with broker_in_process() as broker:
        tls = {"tls_cert_file": certificate, "tls_key_file": key}
        async with running(GatewayConfig(host=HOST, port=0, brokers=(broker.address,), **tls)) as gateway:
            for scheme in ("https", "wss"):
                url = f"{scheme}://localhost:{gateway.gateway.port}"
                async with OsqueueClient(url, tls_ca_file=str(authority.file)) as client:
                    await client.submit_job("mail", 1)
            for path, other in zip((certificate, key), following.sign("gateway"), strict=True):
                renewed(path, other)
                gateway.gateway._certificate.refresh()
            async with ClientSession() as session:
                trusted = ssl.create_default_context(cafile=str(following.file))
                async with session.get(f"https://localhost:{gateway.gateway.port}/healthz", ssl=trusted) as answer:
                    assert answer.status == 200


async def test_a_gateway_shows_a_certificate_to_brokers_that_ask_for_one(authority):
    settings = speaking(authority, OSQUEUE_TLS_CLIENT_CA_FILE=str(authority.file))
    certificate, key = authority.sign("gateway")
    environment = {
        "BROKER_HOST": HOST,
        "BROKER_PORT": "0",
        "OSQUEUE_TLS_CA_FILE": str(authority.file),
        "OSQUEUE_TLS_CLIENT_CERT_FILE": certificate,
        "OSQUEUE_TLS_CLIENT_KEY_FILE": key,
    }
    async with broker_in_process(settings=settings) as broker:
        config = GatewayConfig.from_environment({**environment, "BROKER_GRPC_ADDRESSES": address(broker)})
        async with running(config) as gateway, OsqueueClient(gateway.url) as client:
            await client.submit_job("mail", 1)


def test_what_brokers_show_each_other(authority):
    certificate, key = authority.sign("broker")
    assert Certificates(certificate, key, str(authority.file), str(authority.file)).channel_credentials()
    assert Certificates(certificate, key).channel_credentials()


def test_files_that_do_not_belong_together_are_named(authority, tmp_path):
    certificate, key = authority.sign("broker")
    _, other_key = authority.sign("other")
    for made in (lambda: Certificates(certificate, other_key), lambda: Certificates(str(tmp_path / "no.crt"), key)):
        with pytest.raises(ConfigError, match="OSQUEUE_TLS_CERT_FILE"):
            made()
    with pytest.raises(ConfigError, match=r"OSQUEUE_TLS_CLIENT_CA_FILE: .* is not a PEM file"):
        (tmp_path / "text").write_text("no")
        Certificates(certificate, key, str(tmp_path / "text"))


async def test_settings_that_need_others_say_so(authority):
    with pytest.raises(ConfigError, match="OSQUEUE_TLS_CLIENT_CA_FILE: needs OSQUEUE_TLS_CERT_FILE"):
        async with broker_in_process(settings={"OSQUEUE_TLS_CLIENT_CA_FILE": str(authority.file)}):
            pass
    with pytest.raises(Exception, match="OSQUEUE_HTTP_TLS_CERT_FILE and OSQUEUE_HTTP_TLS_KEY_FILE: set both"):
        GatewayConfig(tls_cert_file="a")


def test_the_gateways_certificate_goes_on_when_another_cannot_be_taken(authority, caplog):
    certificate, key = authority.sign("gateway")
    served = Certificate(certificate, key)
    Path(certificate).write_text("no")
    served.refresh()
    served.refresh()
    assert caplog.text.count("going on with the certificate that was there before") == 1
    with pytest.raises(Exception, match="are not a certificate and its key"):
        Certificate(certificate, key)

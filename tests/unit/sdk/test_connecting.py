"""From what a user writes to a transport."""

import pytest

from osqueue import ConfigError, OsqueueClient, TransportConfigError
from osqueue.transports.addresses import parse
from tests.unit.sdk.memory_transport import MemoryTransport


@pytest.mark.parametrize(
    ("url", "kind", "secure", "authority"),
    [
        ("broker:9000", "grpc", False, "broker:9000"),
        ("grpc://broker", "grpc", False, "broker:8081"),
        ("grpcs://broker:1", "grpc", True, "broker:1"),
        ("grpc://[::1]:5", "grpc", False, "[::1]:5"),
        ("http://gateway", "rest", False, "gateway:80"),
        ("https://gateway/", "rest", True, "gateway:443"),
        ("ws://gateway:8080", "ws", False, "gateway:8080"),
        ("WSS://gateway", "ws", True, "gateway:443"),
    ],
)
def test_an_address_is_understood(url, kind, secure, authority):
    (endpoint,) = parse(url)
    assert (endpoint.kind, endpoint.secure, endpoint.authority) == (kind, secure, authority)


@pytest.mark.parametrize("url", ["grpc://a:1,grpc://b:2", "a:1, b:2", ["a:1", "b:2"]])
def test_several_addresses(url):
    assert [endpoint.authority for endpoint in parse(url)] == ["a:1", "b:2"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no broker address"),
        ("ftp://a", "unknown scheme 'ftp'"),
        ("grpc://:5", "host is missing"),
        ("grpc://a:99999", "Port out of range"),
        ("grpc://a:b", "Port could not be cast"),
        ("grpc://a/path", "has no path"),
        ("grpc://a,http://b", "different kinds"),
        ("http://ada:secret@a", "no credentials"),
        ("grpc://secret@a:1", "no credentials"),
        ("http://a?token=secret", "no query"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(url, says):
    with pytest.raises(TransportConfigError, match=says) as raised:
        OsqueueClient(url)
    assert "secret" not in str(raised.value)


def test_the_environment_names_the_broker(monkeypatch):
    monkeypatch.setenv("BROKER_URL", "grpc://elsewhere:9")
    assert OsqueueClient().new_transport().address == "elsewhere:9"


def test_without_any_address_the_broker_is_on_this_machine(monkeypatch):
    monkeypatch.delenv("BROKER_URL", raising=False)
    assert OsqueueClient().new_transport().address == "127.0.0.1:8081"


class Storage:
    async def read(self, key: str) -> bytes | None:
        return None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"broker_url": "a", "storage": Storage()}, "either broker_url or storage"),
        ({"broker_url": "a", "transport": MemoryTransport()}, "a transport of your own"),
        ({"storage": Storage(), "transport": "rest"}, "cannot use it"),
        ({"broker_url": "grpc://a", "transport": "rest"}, "rest, ws and connect need the gateway's"),
        ({"broker_url": "http://a", "transport": "grpc"}, "grpc needs grpc://"),
        ({"broker_url": "http://a", "transport": "carrier-pigeon"}, "'carrier-pigeon'"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, says):
    with pytest.raises((ConfigError, TransportConfigError), match=says):
        OsqueueClient(**arguments)

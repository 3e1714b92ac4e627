"""Which transport a client uses. Nothing is connected here, and nothing heavy imported before it is needed."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from osqueue.credentials import Credentials, Tls, TokenProvider, tls_of
from osqueue.discovery import LeaderFinder, RootReader
from osqueue.errors import ConfigError, TransportConfigError
from osqueue.transports.addresses import DEFAULT_URL, Endpoint, parse
from osqueue.transports.protocol import QueueTransport, Transport


@dataclass(slots=True, frozen=True)
class Connector:
    """Makes a client's transports: `own` for its session, `another` for a second one beside it."""

    own: Callable[[], Transport]
    another: Callable[[], Transport]
    told: dict[str, Any] | None = None
    """How another process makes one: the arguments of `connect`; None when it cannot. Without endpoints, where the
    leader is: only this process can find it."""


def credentials(
    token: str | TokenProvider | None, token_file: str, ca_file: str, cert_file: str, key_file: str
) -> Credentials:
    """What a caller said, or the environment says where it said nothing."""
    tls = Tls(ca_file, cert_file, key_file) if ca_file or cert_file or key_file else tls_of(os.environ)
    if token is None and not token_file:
        token, token_file = os.environ.get("OSQUEUE_TOKEN", ""), os.environ.get("OSQUEUE_TOKEN_FILE", "")
        if token:
            token_file = ""
    return Credentials(token or "", token_file, tls)


def connect(
    broker_url: str | Sequence[str] | None,
    *,
    storage: RootReader | None,
    prefix: str,
    transport: str | Transport | None,
    credentials: Credentials,
    queue: str = "",
) -> Connector:
    """How to make the client's transports; wrong settings are found now, not with the first call. `queue` is the name
    of one; "" is the default queue."""
    connector = _connect(broker_url, storage=storage, prefix=prefix, transport=transport, credentials=credentials)
    return in_queue(connector, queue) if queue else connector


def in_queue(connector: Connector, queue: str, own: Callable[[], Transport] | None = None) -> Connector:
    """The same for one queue with a name. `own` makes a transport whose connections that of the client shall share."""

    def make(make: Callable[[], Transport], *, shared: bool) -> Transport:
        transport = make()
        if not isinstance(transport, QueueTransport):
            raise TransportConfigError(f"the transport {transport.name!r} knows no queues with names (for_queue)")
        return transport.for_queue(queue, shared=shared)

    told = None if connector.told is None else {**connector.told, "queue": queue}
    return Connector(
        lambda: make(own or connector.own, shared=own is not None),
        lambda: make(connector.another, shared=False),
        told,
    )


def _connect(
    broker_url: str | Sequence[str] | None,
    *,
    storage: RootReader | None,
    prefix: str,
    transport: str | Transport | None,
    credentials: Credentials,
) -> Connector:
    if transport is not None and not isinstance(transport, str):
        if broker_url is not None or storage is not None:
            raise ConfigError("give either a transport of your own, or broker_url, or storage")
        given = [transport]
        return Connector(lambda: given.pop() if given else transport.clone(), transport.clone)
    if storage is not None:
        if broker_url is not None:
            raise ConfigError("give either broker_url or storage: the storage names the broker")
        if transport not in (None, "grpc"):
            raise ConfigError(f"the storage names the broker's gRPC address; transport {transport!r} cannot use it")
        return _grpc([], credentials, LeaderFinder(storage, prefix))
    endpoints = parse(broker_url if broker_url is not None else os.environ.get("BROKER_URL") or DEFAULT_URL)
    kind = endpoints[0].kind
    if transport in ("ws", "connect") and kind == "rest":
        kind = transport
    if transport is not None and transport != kind:
        raise TransportConfigError(
            f"transport {transport!r} cannot use {endpoints[0].authority}: "
            "grpc needs grpc://host:port, rest, ws and connect need the gateway's http://host:port"
        )
    if kind == "grpc":
        return _grpc(endpoints, credentials, None)
    return _gateway(kind, endpoints, credentials)


def _grpc(endpoints: list[Endpoint], credentials: Credentials, find_leader: LeaderFinder | None) -> Connector:
    def make() -> Transport:
        from osqueue.transports.grpc import GrpcTransport

        return GrpcTransport(endpoints, token=credentials, find_leader=find_leader)

    return Connector(make, make, _told(endpoints, "grpc", credentials))


def _told(endpoints: list[Endpoint], transport: str, credentials: Credentials) -> dict[str, Any] | None:
    shown = credentials.told()
    if shown is None:
        return None
    return {"endpoints": [endpoint.url for endpoint in endpoints], "transport": transport, **shown}


def _gateway(kind: str, endpoints: list[Endpoint], credentials: Credentials) -> Connector:
    from osqueue.transports.http import import_aiohttp

    import_aiohttp()

    def make() -> Transport:
        if kind == "ws":
            from osqueue.transports.ws import WsTransport

            return WsTransport(endpoints, token=credentials)
        if kind == "connect":
            from osqueue.transports.connect import ConnectTransport

            return ConnectTransport(endpoints, token=credentials)
        from osqueue.transports.rest import RestTransport

        return RestTransport(endpoints, token=credentials)

    return Connector(make, make, _told(endpoints, kind, credentials))

"""The gateway's settings, from the environment; a wrong value stops the start, naming it."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from osqueue.credentials import Tls, tls_of
from osqueue.errors import ConfigError, TransportConfigError
from osqueue.transports.addresses import Endpoint, parse
from osqueue_gateway.limits import Limits
from osqueue_protocol.breezeq import BREEZEQ
from osqueue_protocol.callers import host_name

log = logging.getLogger("osqueue.gateway")

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Where to listen, where the brokers are, and who may call."""

    host: str = "0.0.0.0"
    port: int = 8080
    """0: any free port."""
    brokers: tuple[str, ...] = ("127.0.0.1:8081",)
    """gRPC addresses; the leader is found among them and followed."""
    advertised: str = ""
    """host:port under which others reach this gateway, if that is not where it listens."""
    token: str = ""
    allow_remote: bool = False
    origins: tuple[str, ...] = ()
    """Origins of web pages that may call, such as https://dashboard.example."""
    hosts: tuple[str, ...] = ()
    """Names by which callers without a token reach this gateway, such as queue.internal."""
    tls_cert_file: str = ""
    """Certificate chain (PEM): serve HTTPS."""
    tls_key_file: str = ""
    tls: Tls = field(default_factory=Tls)
    """What to trust of brokers, and to show them."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"BROKER_PORT must be a port from 0 to 65535, not {self.port}")
        if self.token and not _TOKEN.fullmatch(self.token):
            raise ConfigError("OSQUEUE_TOKEN must be printable ASCII without spaces")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ConfigError("OSQUEUE_HTTP_TLS_CERT_FILE and OSQUEUE_HTTP_TLS_KEY_FILE: set both, or neither")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"CORS_ORIGINS names {origin!r}; list origins as http(s)://host[:port] in small letters, separated "
                    "by commas, without a path and without *"
                )
        for host in self.hosts:
            if host_name(host) != host:
                raise ConfigError(
                    f"OSQUEUE_HOSTS names {host!r}; list hosts in small letters, separated by commas, without ports"
                )
        self.endpoints()

    def endpoints(self) -> list[Endpoint]:
        """The brokers' addresses, taken apart."""
        try:
            endpoints = parse(self.brokers)
        except TransportConfigError as error:
            raise ConfigError(f"BROKER_GRPC_ADDRESSES: {error}") from error
        if endpoints[0].kind != "grpc":
            raise ConfigError("BROKER_GRPC_ADDRESSES must be gRPC addresses, host:port or grpc://host:port")
        return endpoints

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """Names under which this gateway may be called while it has no token."""
        advertised = self.advertised.rpartition(":")[0]
        return tuple(host for host in (self.host, advertised, *self.hosts) if host and host not in ("0.0.0.0", "::"))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "GatewayConfig":
        """The settings of `python -m osqueue_gateway`."""
        default = cls()
        for name in sorted(BREEZEQ.keys() & {name for name, text in environment.items() if text}):
            log.warning(
                "the environment variable %s is BreezeQ's and has no effect; here it is %s", name, BREEZEQ[name]
            )
        grpc_port = environment.get("BROKER_GRPC_PORT", "8081")
        return cls(
            host=environment.get("BROKER_HOST") or default.host,
            port=_integer(environment, "BROKER_PORT", default.port),
            brokers=_list(environment, "BROKER_GRPC_ADDRESSES") or (f"127.0.0.1:{grpc_port}",),
            advertised=environment.get("BROKER_HTTP_ADDRESS", ""),
            token=_token(environment),
            allow_remote=_flag(environment, "OSQUEUE_ALLOW_REMOTE"),
            origins=_list(environment, "CORS_ORIGINS"),
            hosts=_list(environment, "OSQUEUE_HOSTS"),
            tls_cert_file=environment.get("OSQUEUE_HTTP_TLS_CERT_FILE", ""),
            tls_key_file=environment.get("OSQUEUE_HTTP_TLS_KEY_FILE", ""),
            tls=tls_of(environment),
            limits=default.limits.for_messages(
                _integer(environment, "OSQUEUE_LIMIT_MESSAGE_BYTES", default.limits.message_bytes)
            ),
        )


def _token(environment: Mapping[str, str]) -> str:
    """The token, or what stands in the file that holds it, as brokers take them."""
    token, path = environment.get("OSQUEUE_TOKEN", ""), environment.get("OSQUEUE_TOKEN_FILE", "")
    if not path:
        return token
    if token:
        raise ConfigError("OSQUEUE_TOKEN and OSQUEUE_TOKEN_FILE: set one of them")
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"OSQUEUE_TOKEN_FILE: {path}: {error}") from None
    if not text:
        raise ConfigError(f"OSQUEUE_TOKEN_FILE: {path} is empty; it must hold the token")
    return text


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "")
    if text not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"{name} must be 1 or 0, not {text!r}")
    return text in ("1", "true")


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environment.get(name, "").split(",") if part.strip())

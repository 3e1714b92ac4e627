"""Where brokers and gateways are, as users write it."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from osqueue.errors import TransportConfigError

DEFAULT_URL = "grpc://127.0.0.1:8081"
GRPC_PORT = 8081

_SCHEMES = {"grpc": "grpc", "grpcs": "grpc", "http": "rest", "https": "rest", "ws": "ws", "wss": "ws"}


@dataclass(slots=True, frozen=True)
class Endpoint:
    """One address. `kind` is "grpc", "rest" or "ws"; `authority` is host:port."""

    kind: str
    secure: bool
    authority: str
    path: str = ""

    @property
    def url(self) -> str:
        """As users write it."""
        scheme = {"rest": "http"}.get(self.kind, self.kind)
        return f"{scheme}{'s' if self.secure else ''}://{self.authority}{self.path}"


def parse(url: str | Iterable[str]) -> list[Endpoint]:
    """The endpoints of one URL, several separated by commas, or a list of them; all must be of one kind.

    `grpc://host:port` and plain `host:port` are brokers, `http(s)://` and `ws(s)://` gateways.
    """
    parts = url.split(",") if isinstance(url, str) else list(url)
    endpoints = [_parse_one(part.strip()) for part in parts if part.strip()]
    if not endpoints:
        raise TransportConfigError("no broker address given; write grpc://host:port or http://host:port")
    if len({(endpoint.kind, endpoint.secure) for endpoint in endpoints}) > 1:
        raise TransportConfigError(f"addresses of different kinds in one client: {', '.join(parts)}")
    return endpoints


def _parse_one(url: str) -> Endpoint:
    scheme, separator, _ = url.partition("://")
    if not separator:
        scheme, url = "grpc", f"grpc://{url}"
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        raise TransportConfigError(
            f"{url!r}: unknown scheme {scheme!r}; use grpc:// for a broker, http:// or ws:// for a gateway"
        )
    split = urlsplit(url)
    if "@" in split.netloc or split.query:
        # Not shown: addresses stand in logs and messages, and this one seems to hold a secret.
        raise TransportConfigError(
            "the address of a broker or gateway must hold no credentials and no query: the token is given with "
            "OSQUEUE_TOKEN or token="
        )
    try:
        port = split.port
    except ValueError as error:
        raise TransportConfigError(f"{url!r}: {error}") from error
    if not split.hostname:
        raise TransportConfigError(f"{url!r}: the host is missing")
    if kind == "grpc" and split.path not in ("", "/"):
        raise TransportConfigError(f"{url!r}: the address of a broker has no path")
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    secure = scheme.lower() in ("grpcs", "https", "wss")
    if port is None:
        port = GRPC_PORT if kind == "grpc" else 443 if secure else 80
    return Endpoint(kind, secure, f"{host}:{port}", split.path.rstrip("/"))

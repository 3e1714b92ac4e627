"""The rules by which callers are let in, once for every edge: who is on this machine, what a proxy leaves.

Pure: an edge hands over what it sees of a call. What no edge can see: a proxy on this machine that adds none of these
headers makes the whole world look like this machine. Only a token helps against that.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from hmac import compare_digest

FORWARDING_HEADERS = frozenset(
    {
        "cf-connecting-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-real-ip",
    }
)
"""Any of these means that a proxy stands between, and that the caller is somewhere else."""

SCHEME = "bearer "
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


JWT_BYTES_MAX = 7 * 1024
"""What fits into the metadata of a call, which gRPC limits to 8 KiB."""


def is_forwarded(names: Iterable[str]) -> bool:
    """Whether a call with headers, or metadata, of these names came through a proxy."""
    return any(name.lower() in FORWARDING_HEADERS for name in names)


def bearer_token(value: str) -> bytes | None:
    """The token in the value of an Authorization header; None when it holds none."""
    if value[: len(SCHEME)].lower() != SCHEME:
        return None
    return value[len(SCHEME) :].strip().encode("utf-8", "surrogateescape")


def same_secret(shown: bytes, secret: bytes) -> bool:
    """Whether they are equal, in a time that does not tell how far."""
    return compare_digest(shown, secret)


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """Whether an address, as text, is one of the loopback interface."""
    ip = _address(address)
    if ip is None:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_local_peer(peer: str) -> bool:
    """Whether the peer, in gRPC's notation, is on this machine."""
    kind, _, address = peer.partition(":")
    if kind == "unix":
        return True
    if kind == "ipv4":
        return is_loopback(address.rpartition(":")[0])
    # The brackets of an IPv6 address are percent-encoded.
    host = address.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0]
    return kind == "ipv6" and is_loopback(host.strip("[]"))


def host_name(header: str) -> str | None:
    """The name or address in a Host header, in small letters and without a port; None when the header is malformed."""
    match = _HOST.fullmatch(header)
    return match[1].lower().rstrip(".") if match is not None else None


def is_loopback_name(name: str) -> bool:
    """localhost, or an address of the loopback interface."""
    return name == "localhost" or is_loopback(name.strip("[]"))


def is_jwt(token: bytes) -> bool:
    """Whether a token has the form of a JWT: three parts, of which the first is a JSON object in base64."""
    return token.startswith(b"eyJ") and token.count(b".") == 2


def is_address(name: str) -> bool:
    """An IP address. No page can make a browser take it for its own name, as it can with a name that it resolves."""
    return _address(name.strip("[]")) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

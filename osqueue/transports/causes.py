"""Why a connection came to nothing, in the words of whoever has to set it right.

The libraries below say it, in theirs. Some causes will not pass by waiting: the port speaks
another protocol, TLS meets plain text, a certificate is not trusted. Unless a broker was
heard there before, those are told at once.
"""

import os
import ssl
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from osqueue.errors import WRONG_PROTOCOL, OsqueueError, TransportConnectionError, TransportRequestError

_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""Which the gRPC library follows, in its order."""


class Cause(NamedTuple):
    """What is wrong; `lasting`: waiting does not help."""

    text: str
    lasting: bool = False


def of_grpc(details: str, address: str, secure: bool) -> Cause:
    """What the gRPC library means."""
    if "http1.x server" in details:
        return Cause(
            f"an HTTP server answers at {address}, where a broker's gRPC was expected. The gateway's port (8080) is "
            f"not the broker's (8081): write grpc://host:8081, or http://{address} to go through the gateway",
            lasting=True,
        )
    if "WRONG_VERSION_NUMBER" in details:
        return Cause(f"{address} does not speak TLS: write grpc:// instead of grpcs://", lasting=True)
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return Cause(f"the certificate of {address} is not trusted: {details}", lasting=True)
    text = f"cannot reach the broker at {address}: {details}"
    if "address lookup failed" in details or "errors resolving" in details:
        return Cause(f"the name in {address} is not known to DNS: {text}")
    variable = proxy_variable(address)
    if variable:
        return Cause(f"{text}. It was tried through the proxy that {variable} names; for a direct way put the host "
                     "into no_proxy")  # fmt: skip
    if "Socket closed" in details and not secure:
        return Cause(f"{text} (if TLS is spoken there, write grpcs://)")
    return Cause(text)


def of_http(error: BaseException, address: str, secure: bool) -> Cause:
    """What aiohttp means."""
    said = str(error) or type(error).__name__
    if "Bad status line" in said and "x00" in said:  # frames of HTTP/2
        return Cause(
            f"a gRPC server answers at {address}, where the gateway's HTTP was expected. The broker's port (8081) is "
            f"not the gateway's (8080): write http://host:8080, or grpc://{address} to go to the broker",
            lasting=True,
        )
    if isinstance(error.__cause__ or error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in said:
        return Cause(f"the certificate of {address} is not trusted: {said}", lasting=True)
    if "WRONG_VERSION_NUMBER" in said:
        return Cause(f"{address} does not speak TLS: write http:// or ws://, not https:// or wss://", lasting=True)
    text = f"cannot reach the gateway at {address}: {said}"
    if "Name or service not known" in said or "name resolution" in said:
        return Cause(f"the name in {address} is not known to DNS: {text}")
    if "Server disconnected" in said and not secure:
        return Cause(f"{text} (if TLS is spoken there, write https:// or wss://)")
    return Cause(text)


def as_error(cause: Cause, *, heard: bool, reason: str = "") -> OsqueueError:
    """An outage, or, where nothing was `heard` there yet and waiting does not help, an error to be told at once."""
    if cause.lasting and not heard:
        return TransportRequestError(cause.text, reason=WRONG_PROTOCOL)
    return TransportConnectionError(cause.text, reason=reason)


def is_loopback(address: str) -> bool:
    """It is on this machine: no proxy leads there."""
    host = urlsplit(f"//{address}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def proxy_variable(address: str) -> str:
    """The environment variable that sends gRPC to this address through a proxy; empty: none."""
    if is_loopback(address) or _is_excepted(urlsplit(f"//{address}").hostname or ""):
        return ""
    return next((name for name in _PROXY_VARIABLES if os.environ.get(name)), "")


def _is_excepted(host: str) -> bool:
    listed = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""  # noqa: SIM112 - as gRPC reads them
    return any(host == one or (one and host.endswith(one)) for one in (part.strip() for part in listed.split(",")))

"""Who may call, from where, and from which web pages.

With a token every call must carry it. Without one only callers on this machine are served, by a name that a hostile
page cannot take (DNS rebinding), unless remote callers were allowed knowingly. A page's calls come with its Origin:
our own pages and those of the allow-list may call, no others; where only callers on this machine are served, pages that
it serves itself as well.
"""

from base64 import urlsafe_b64decode
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from osqueue.errors import AuthError
from osqueue_gateway.errors import Refusal
from osqueue_protocol.callers import (
    JWT_BYTES_MAX,
    bearer_token,
    host_name,
    is_address,
    is_forwarded,
    is_jwt,
    is_loopback,
    is_loopback_name,
    same_secret,
)

CORS_METHODS = "GET, POST, OPTIONS"
CORS_HEADERS = (
    "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Last-Event-ID, X-User-Agent, "
    "Connect-Content-Encoding, Connect-Accept-Encoding"
)
CORS_EXPOSED = "Retry-After, WWW-Authenticate"
CORS_MAX_AGE_S = "7200"

SOCKET_PROTOCOL = "osqueue"
SOCKET_TOKEN = "osqueue.bearer."
"""How a page shows the token when it opens a WebSocket, where browsers let it set no header but the protocols: it
offers `osqueue` and `osqueue.bearer.` with the token in base64url, and `osqueue` is chosen."""

_PROTOCOLS_MAX = 8

MINTED = b"osq_"
"""What tokens begin with that a broker made."""

TOKEN_BYTES_MAX = 512


class Guard:
    """Admits requests. `own_hosts` are names of this gateway besides localhost and addresses."""

    def __init__(
        self,
        *,
        token: str = "",
        allow_remote: bool = False,
        origins: tuple[str, ...] = (),
        own_hosts: tuple[str, ...] = (),
    ) -> None:
        self._token = token.encode()
        self._allow_remote = allow_remote
        self._origins = frozenset(origins)
        self._own_hosts = frozenset(host.lower() for host in own_hosts)

    def admit(self, request: web.BaseRequest) -> str:
        """Raises for who may not call. The token that the caller shows, when it is not the gateway's own: only the
        broker knows whether it is let in. Of a page that may, the request remembers the origin, for its answer."""
        host = self._checked_host(request)
        origin = self._checked_origin(request, host)
        if origin:
            request[ORIGIN_KEY] = origin
        # A browser asks before it sends the header with the token, so that this question cannot carry it.
        if not (origin and request.method == hdrs.METH_OPTIONS):
            return self._check_caller(request)
        return ""

    def _check_caller(self, request: web.BaseRequest) -> str:
        if self._token:
            return self._other_token(request)
        if not self._allow_remote and not is_local(request):
            raise AuthError(
                "this gateway has no token, so it serves only callers on its own machine. Set OSQUEUE_TOKEN on broker, "
                "gateway and callers, or OSQUEUE_ALLOW_REMOTE=1 to serve everyone who can reach it",
                reason="PERMISSION_DENIED",
            )
        return ""

    def _other_token(self, request: web.BaseRequest) -> str:
        shown: list[str] = request.headers.getall(hdrs.AUTHORIZATION, [])
        token = bearer_token(shown[0]) if len(shown) == 1 else None
        if not shown:
            token = _socket_token(request)
        if token is None:
            raise AuthError(
                "this gateway asks for a token: send `Authorization: Bearer <token>`, with the OSQUEUE_TOKEN it was "
                "started with",
                reason="UNAUTHENTICATED",
            )
        if same_secret(token, self._token):
            return ""
        if not ((token.startswith(MINTED) and len(token) <= TOKEN_BYTES_MAX) or is_jwt(token)):
            raise AuthError(
                "the token is wrong: it must be the OSQUEUE_TOKEN of this gateway, or one that `osqueue tokens create` "
                "made",
                reason="UNAUTHENTICATED",
            )
        if len(token) > JWT_BYTES_MAX:
            raise AuthError(
                f"the token is a JWT of {len(token)} bytes; at most {JWT_BYTES_MAX} are taken", reason="UNAUTHENTICATED"
            )
        return token.decode("ascii", "replace")

    def _checked_host(self, request: web.BaseRequest) -> str:
        hosts: list[str] = request.headers.getall(hdrs.HOST, [])
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            raise Refusal(400, "the request needs exactly one Host header, a host and perhaps a port")
        if self._token or name in self._own_hosts or is_loopback_name(name):
            return hosts[0]
        # A page of any name can have that name resolved to this machine; it cannot know a token, nor be an address.
        if self._allow_remote and is_address(name):
            return hosts[0]
        served = "localhost, 127.0.0.1, [::1]" if not self._allow_remote else "localhost, IP addresses"
        raise AuthError(
            f"{name} is not a name of this gateway's machine; without a token it answers only to {served}, the address "
            "it was started with and the names in OSQUEUE_HOSTS",
            reason="PERMISSION_DENIED",
        )

    def _checked_origin(self, request: web.BaseRequest, host: str) -> str:
        origins: list[str] = request.headers.getall(hdrs.ORIGIN, [])
        if not origins:
            return ""
        origin = origins[0]
        if len(origins) == 1:
            if origin in self._origins:
                return origin
            authority = _authority(origin)
            if authority == host.lower():
                return ""
            # Where only callers on this machine are served, a page that this machine serves is one of them.
            if not (self._token or self._allow_remote) and _on_loopback(authority):
                return origin
        raise AuthError(
            f"pages of {origin[:100]} may not call this gateway; add the origin to CORS_ORIGINS to allow them",
            reason="PERMISSION_DENIED",
        )


ORIGIN_KEY = web.RequestKey("origin", str)
"""Where a request remembers the foreign page that it was admitted for."""


def cors_of(request: web.BaseRequest) -> dict[str, str]:
    """What the page that sent the request needs in order to read the answer; nothing for other callers."""
    origin = request.get(ORIGIN_KEY)
    if not origin:
        return {}
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: CORS_EXPOSED,
        hdrs.VARY: hdrs.ORIGIN,
    }
    return headers


async def preflight(request: web.BaseRequest) -> web.StreamResponse:
    """The answer to a browser that asks whether a page may call."""
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: CORS_METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: CORS_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: CORS_MAX_AGE_S,
    }
    return web.Response(status=204, headers={**headers, **cors_of(request)})


def is_local(request: web.BaseRequest) -> bool:
    """The caller is on this machine, and no proxy speaks for somebody else."""
    remote = request.remote
    return remote is not None and is_loopback(remote) and not is_forwarded(request.headers)


def _socket_token(request: web.BaseRequest) -> bytes | None:
    """The token that a page offers among the protocols of its WebSocket."""
    offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")
    for protocol in offered[:_PROTOCOLS_MAX]:
        name = protocol.strip()
        if name.startswith(SOCKET_TOKEN):
            encoded = name[len(SOCKET_TOKEN) :].encode("utf-8", "surrogateescape")
            try:
                return urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
            except ValueError:
                return None
    return None


def _on_loopback(authority: str) -> bool:
    name = host_name(authority)
    return name is not None and is_loopback_name(name)


@lru_cache(maxsize=1024)
def _authority(origin: str) -> str:
    """host:port of an origin as a Host header names it, "" for what is none."""
    try:
        split = urlsplit(origin)
    except ValueError:
        return ""
    return split.netloc.lower() if split.scheme in ("http", "https") and not split.path else ""

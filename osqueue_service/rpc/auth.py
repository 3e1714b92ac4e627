"""Who may call: whoever shows the token or, where there is none, whoever is on this machine."""

from hmac import compare_digest
from typing import Any

import grpc

from osqueue_service.errors import OsqueueError, PermissionDenied, Unauthenticated

_SCHEME = "bearer "
_FORWARDING = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})


class Guard:
    """Decides whether the caller behind a context may call at all.

    With a token every call must carry it as `authorization: Bearer <token>`. Without one, only callers on this
    machine's loopback are served, unless `allow_remote`; a call that a proxy forwarded counts as remote.
    """

    def __init__(self, token: str = "", *, allow_remote: bool = False) -> None:
        self._token = token.encode()
        self._allow_remote = allow_remote

    def refusal(self, context: "grpc.aio.ServicerContext[Any, Any]") -> OsqueueError | None:
        """Why the call is refused; None when it is not."""
        if self._token:
            return self._check_token(context)
        if self._allow_remote:
            return None
        peer = context.peer()
        if is_local(peer) and not _forwarded(context):
            return None
        return PermissionDenied(
            f"this broker has no token, so it serves only callers on its own machine, and this call came from {peer}. "
            "Set OSQUEUE_TOKEN on broker and callers, or OSQUEUE_ALLOW_REMOTE=1 on the broker to serve everyone who "
            "can reach it"
        )

    def _check_token(self, context: "grpc.aio.ServicerContext[Any, Any]") -> OsqueueError | None:
        shown = False
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str) and value[: len(_SCHEME)].lower() == _SCHEME:
                shown = True
                if compare_digest(value[len(_SCHEME) :].strip().encode(), self._token):
                    return None
        if shown:
            return Unauthenticated("the token is wrong: it must be the OSQUEUE_TOKEN that the broker was started with")
        return Unauthenticated(
            "this broker asks for a token: send the metadata `authorization: Bearer <token>`; osqueue's own clients "
            "take it from OSQUEUE_TOKEN"
        )


def is_local(peer: str) -> bool:
    """Whether the peer, in gRPC's notation, is on this machine."""
    kind, _, address = peer.partition(":")
    if kind == "unix":
        return True
    if kind == "ipv4":
        return address.startswith("127.")
    # The brackets of an IPv6 address are percent-encoded.
    host = address.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]")
    return kind == "ipv6" and (host == "::1" or host.lower().startswith("::ffff:127."))


def _forwarded(context: "grpc.aio.ServicerContext[Any, Any]") -> bool:
    return any(key in _FORWARDING for key, _ in context.invocation_metadata() or ())

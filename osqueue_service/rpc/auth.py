"""Who may call: whoever shows the token or, where there is none, whoever is on this machine."""

from collections.abc import Iterable
from hmac import compare_digest
from typing import Any

import grpc

from osqueue_service.errors import OsqueueError, PermissionDenied, Unauthenticated

Metadata = Iterable[tuple[str, str | bytes]] | None

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

    def stranger(self, metadata: Metadata) -> OsqueueError | None:
        """Why a caller with this metadata is refused before its request is read; None when it is not."""
        if not self._token:
            return None
        shown = False
        for key, value in metadata or ():
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

    def check_place(self, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        """Raises PERMISSION_DENIED for a caller on another machine, where there is no token.

        Only a call's context knows the peer, so this comes when the request was received, and before it is parsed.
        """
        if self._token or self._allow_remote:
            return
        peer = context.peer()
        if is_local(peer) and not _forwarded(context.invocation_metadata()):
            return
        raise PermissionDenied(
            f"this broker has no token, so it serves only callers on its own machine, and this call came from {peer}. "
            "Set OSQUEUE_TOKEN on broker and callers, or OSQUEUE_ALLOW_REMOTE=1 on the broker to serve everyone who "
            "can reach it"
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


def _forwarded(metadata: Metadata) -> bool:
    return any(key in _FORWARDING for key, _ in metadata or ())

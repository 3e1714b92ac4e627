"""Who may call: whoever shows the token or, where there is none, whoever is on this machine."""

from collections.abc import Iterable
from typing import Any

import grpc

from osqueue_protocol.callers import bearer_token, is_forwarded, is_local_peer, same_secret
from osqueue_service.errors import OsqueueError, PermissionDenied, Unauthenticated

Metadata = Iterable[tuple[str, str | bytes]] | None


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
            if key != "authorization" or not isinstance(value, str) or (token := bearer_token(value)) is None:
                continue
            if same_secret(token, self._token):
                return None
            shown = True
        if shown:
            return Unauthenticated("the token is wrong: it must be the OSQUEUE_TOKEN that the broker was started with")
        return Unauthenticated(
            "this broker asks for a token: send the metadata `authorization: Bearer <token>`; osqueue's own clients "
            "take it from OSQUEUE_TOKEN"
        )

    def check_place(self, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        """Raises PERMISSION_DENIED for a caller on another machine, where there is no token.

        Only a call's context knows the peer. Where others can reach the port, the request is read after this.
        """
        if self._token or self._allow_remote:
            return
        peer = context.peer()
        if is_local_peer(peer) and not is_forwarded(key for key, _ in context.invocation_metadata() or ()):
            return
        raise PermissionDenied(
            f"this broker has no token, so it serves only callers on its own machine, and this call came from {peer}. "
            "Set OSQUEUE_TOKEN on broker and callers, or OSQUEUE_ALLOW_REMOTE=1 on the broker to serve everyone who "
            "can reach it"
        )

"""Who may call: whoever shows a token that is let in or, where none is asked for, whoever is on this machine."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import grpc

from osqueue_protocol.callers import bearer_token, is_forwarded, is_jwt, is_local_peer, same_secret
from osqueue_service.errors import OsqueueError, PermissionDenied, StorageUnavailable, Unauthenticated
from osqueue_service.rpc.access.principal import CERTIFIED, LOCAL, Principal, boot
from osqueue_service.rpc.access.registry import Registry

if TYPE_CHECKING:
    from osqueue_service.rpc.access.signed.bearers import Bearers

_NAMES = "x509_subject_alternative_name"

Metadata = Iterable[tuple[str, str | bytes]] | None


class Guard:
    """Decides who the caller behind a call is, and whether it may call at all.

    With a token, or with a registry of tokens, every call must carry one as `authorization: Bearer <token>`. Without,
    only callers on this machine's loopback are served, unless `allow_remote`; a call that a proxy forwarded counts as
    remote.
    """

    def __init__(self, token: str = "", *, allow_remote: bool = False, certificates: bool = False) -> None:
        """`certificates`: every connection has shown one, of an authority that is trusted."""
        self._certificates = certificates
        self._token = token.encode()
        self._boot = boot()
        self._allow_remote = allow_remote
        self._registry: Registry | None = None
        self._bearers: Bearers | None = None

    def consult(self, registry: Registry, bearers: "Bearers | None" = None) -> None:
        """Let in whom the registry knows, too, and who shows a token that an issuer has signed."""
        self._registry = registry
        self._bearers = bearers

    @property
    def asks(self) -> bool:
        """Whether callers must show a token."""
        return bool(self._token) or self._registry is not None

    def admit(self, metadata: Metadata) -> Principal | OsqueueError:
        """Who calls with this metadata; or why the call is refused before its request is read."""
        if not self.asks:
            return LOCAL
        shown = _shown(metadata)
        if len(shown) > 1:
            return Unauthenticated("the call shows more than one token: send one `authorization` alone")
        if not shown and self._registry is not None and self._certificates and self._registry.knows_certificates:
            return CERTIFIED
        if not shown:
            return Unauthenticated(
                "this broker asks for a token: send the metadata `authorization: Bearer <token>`; osqueue's own "
                "clients take it from OSQUEUE_TOKEN"
            )
        (token,) = shown
        if self._token and same_secret(token, self._token):
            return self._boot
        if self._bearers is not None and is_jwt(token):
            return self._bearers.admit(token)
        if self._registry is not None:
            principal = self._registry.find(token)
            if principal is not None:
                return principal
            if self._registry.has_expired(token):
                return Unauthenticated("the token has expired: ask whoever made it for another")
        return Unauthenticated(
            "the token is wrong: it must be the OSQUEUE_TOKEN that the broker was started with, or one that "
            "`osqueue tokens create` made and nobody revoked"
        )

    def of_certificate(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Principal:
        """Who the certificate of the call's connection names. Raises UNAUTHENTICATED for who is not declared."""
        names = [name.decode(errors="replace") for name in context.auth_context().get(_NAMES, ())]
        found = None if self._registry is None else self._registry.of_certificate(names)
        if found is None:
            raise Unauthenticated(
                f"the certificate of this connection names {', '.join(names)[:200] or 'nobody'}, which "
                "OSQUEUE_ACCESS_FILE does not declare, and the call shows no token"
            )
        return found

    async def second_look(self, metadata: Metadata, refusal: OsqueueError) -> OsqueueError:
        """What a caller hears that was refused: a token may have been made on another broker a moment ago."""
        if self._registry is not None and isinstance(refusal, Unauthenticated):
            for token in _shown(metadata)[:1]:
                if self._bearers is not None and is_jwt(token):
                    return await self._bearers.second_look(token) or refusal
                if await self._registry.look_for(token) is not None:
                    return StorageUnavailable(
                        "this broker has learned of the token just now: call again", retry_after_ms=1
                    )
        return refusal

    def check_place(self, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        """Raises PERMISSION_DENIED for a caller on another machine, where there is no token.

        Only a call's context knows the peer. Where others can reach the port, the request is read after this.
        """
        if self._allow_remote or self.asks:
            return
        peer = context.peer()
        if is_local_peer(peer) and not is_forwarded(key for key, _ in context.invocation_metadata() or ()):
            return
        raise PermissionDenied(
            f"this broker has no token, so it serves only callers on its own machine, and this call came from {peer}. "
            "Set OSQUEUE_TOKEN on broker and callers, or OSQUEUE_ALLOW_REMOTE=1 on the broker to serve everyone who "
            "can reach it"
        )


def _shown(metadata: Metadata) -> list[bytes]:
    """Every token that the call carries; the same one twice is one."""
    found: list[bytes] = []
    for key, value in metadata or ():
        if key != "authorization" or not isinstance(value, str):
            continue
        token = bearer_token(value)
        if token is not None and token not in found:
            found.append(token)
    return found

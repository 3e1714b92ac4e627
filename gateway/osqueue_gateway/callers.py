"""On whose behalf a call is made: the gateway's own, or that of a caller with a token of its own.

The broker decides who may do what. What this knows of a caller it has asked the broker, and asks again every few
seconds; it lets calls be refused before their bodies are read.
"""

import asyncio
from collections import OrderedDict
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from osqueue.errors import AuthError
from osqueue_protocol.rights import DEFAULT_QUEUE, EVERYTHING, Rights, rights_of
from osqueue_protocol.rpcs import RPCS

FOR_S = 4.0
"""How long an answer about a caller holds: a revoked token is refused everywhere within 5 s."""

KNOWN_MAX = 10_000
"""Callers that are remembered; beyond it those that were asked about longest ago are forgotten."""

ASKING_MAX = 32
"""Questions about callers under way at once: somebody who tries tokens must not become load on the broker."""


class Caller(NamedTuple):
    """Who called. An empty `token` stands for the gateway's own."""

    token: str
    rights: Rights


OWN = Caller("", EVERYTHING)

_CALLER: ContextVar[Caller] = ContextVar("caller", default=OWN)


def caller() -> Caller:
    """On whose behalf this task acts."""
    return _CALLER.get()


def act_for(who: Caller) -> None:
    """What follows in this task is done for this caller."""
    _CALLER.set(who)


def require(scope: str, what: str) -> None:
    """Raises for a caller that may not do `what`, an RPC or a page, which needs the scope. Where a request names its
    queue, the broker asks for the right in that one."""
    rights = caller().rights
    rpc = RPCS.get(what)
    here = rights if rpc is not None and rpc.names_queue else rights.in_queue(DEFAULT_QUEUE)
    if not here.may(scope):
        raise AuthError(
            f"{what} needs the scope {scope}, and this token has only {', '.join(rights.names())}",
            reason="PERMISSION_DENIED",
        )


class Asks(Protocol):
    """Whoever knows what a token may do: the broker."""

    async def scopes_of(self, token: str) -> list[str]:
        """Its scopes; raises an `OsqueueError`, `AuthError` for a token that is not let in."""
        ...


class _Known(NamedTuple):
    until: float
    found: Caller | AuthError


class Callers:
    """Finds the caller behind a token."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._turns = asyncio.Semaphore(ASKING_MAX)

    async def of(self, token: str) -> Caller:
        """Who shows this token; raises an `AuthError`, or why the broker could not be asked."""
        known = self._known.get(token)
        if known is None or known.until <= asyncio.get_running_loop().time():
            asking = self._asking.get(token)
            if asking is None:
                asking = self._asking[token] = asyncio.ensure_future(self._ask(token))
                asking.add_done_callback(lambda _: self._asking.pop(token, None))
            known = await asyncio.shield(asking)
        if isinstance(known.found, AuthError):
            raise AuthError(known.found.message, reason=known.found.reason)
        return known.found

    async def _ask(self, token: str) -> _Known:
        async with self._turns:
            found: Caller | AuthError
            try:
                found = Caller(token, rights_of(await self._asks.scopes_of(token)))
            except AuthError as error:
                found = AuthError(error.message, reason=error.reason)
        known = self._known[token] = _Known(asyncio.get_running_loop().time() + FOR_S, found)
        self._known.move_to_end(token)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return known

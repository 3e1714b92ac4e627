"""Who calls, as everything behind the door sees it."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field

from osqueue_protocol.rights import DEFAULT_QUEUE, EVERYTHING, NOTHING, Rights
from osqueue_service.errors import PermissionDenied


@dataclass(eq=False, slots=True)
class Principal:
    """A caller that was let in. `id` is what records of its doings name; `expires_at` is wall time, 0: never."""

    id: str
    name: str
    rights: Rights
    expires_at: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its right to call ends before its time: a token was revoked, or its scopes changed."""


BOOT_ID = "boot"
LOCAL_ID = "local"


def boot() -> Principal:
    """Whoever shows the token that a broker was started with: one for each broker, whose loop its end is awaited in."""
    return Principal(BOOT_ID, "OSQUEUE_TOKEN", EVERYTHING)


LOCAL = Principal(LOCAL_ID, "without a token", EVERYTHING)
"""Whoever calls a broker that was started without one."""

CERTIFIED = Principal("certificate", "whoever the certificate of the connection names", NOTHING)
"""Stands for a caller whose certificate is known once its call is there."""

_CALLER: ContextVar[Principal] = ContextVar("caller", default=LOCAL)
_QUEUE: ContextVar[str] = ContextVar("queue", default=DEFAULT_QUEUE)


def caller() -> Principal:
    """Who made the call that is being answered."""
    return _CALLER.get()


def answer_for(principal: Principal) -> None:
    """What follows in this task is done for this caller."""
    _CALLER.set(principal)


def rights_here() -> Rights:
    """What the caller may do in the queue that the call is for."""
    rights = _CALLER.get().rights
    return rights if rights is EVERYTHING else rights.in_queue(_QUEUE.get())


def answer_in(queue: str, right: str, what: str) -> None:
    """What follows in this task is done in this queue; "" is the default one. Raises `PermissionDenied` for a caller
    that may not do `what` there, which needs the right."""
    principal = _CALLER.get()
    if principal.rights is EVERYTHING:
        return
    _QUEUE.set(queue or DEFAULT_QUEUE)
    if not rights_here().may(right):
        raise denied(principal, right, what, _QUEUE.get())


def denied(principal: Principal, right: str, what: str, queue: str = "") -> PermissionDenied:
    """Why this caller may not do `what`; in this queue, if it may elsewhere."""
    where = f" in the queue {queue!r}" if queue and principal.rights.may(right) else ""
    return PermissionDenied(
        f"{what} needs the scope {right}{where}, and the token {principal.id} has only "
        f"{', '.join(principal.rights.names())}"
    )

"""Streams end when their caller's right to call does."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from osqueue_service.clock import Clock
from osqueue_service.errors import Unauthenticated
from osqueue_service.rpc.access.principal import Principal


async def while_let_in(principal: Principal, work: Awaitable[Any], clock: Clock) -> Any:
    """What the work returns. Raises `Unauthenticated`, and ends the work, once the principal is no longer let in."""
    running = asyncio.ensure_future(work)
    over = asyncio.ensure_future(_over(principal, clock))
    try:
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # seen, for when this call was itself cancelled
    if running.cancelled():
        raise Unauthenticated(
            f"the token {principal.id} is no longer let in as it was: it was revoked, changed or expired"
        )
    try:
        return running.result()
    finally:
        del running  # it keeps what it raises, and that this frame


async def _over(principal: Principal, clock: Clock) -> None:
    if not principal.expires_at:
        await principal.ended.wait()
        return
    try:
        await clock.within_ms(max(0, principal.expires_at - clock.wall_ms()), principal.ended.wait())
    except TimeoutError:
        return

"""Limits on how many jobs run at a time and how fast they start: `client.limits`."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from osqueue.calls.reading import read
from osqueue.flow_messages import (
    AtLimit,
    DeleteLimitRequest,
    LimitChanged,
    LimitDeleted,
    LimitInfo,
    LimitKeyInfo,
    LimitOverride,
    LimitPut,
    LimitRequest,
    LimitReset,
    LimitSettings,
    ListLimitKeysRequest,
    ListLimitsRequest,
    PutLimitRequest,
    Rate,
    ResetLimitKeyRequest,
    SetLimitOverrideRequest,
)
from osqueue.messages import Question
from osqueue.session import Session
from osqueue.submission import integer, text, to_epoch_ms

C = TypeVar("C", LimitPut, LimitDeleted, LimitChanged, LimitReset)

KEYS_PER_PAGE = 1_000


class Limits:
    """The limits of a queue. Jobs name them with `limits=[Limit("openai", key="acme")]`.

        await client.limits.put("openai", max_running=3, rate=Rate(100_000, 60_000), per_key=True)

    Each method can fail as every call can; `BrokerProtocolError` says what is wrong with its arguments.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session

    async def put(
        self,
        name: str,
        *,
        max_running: int | None = None,
        rate: Rate | None = None,
        per_key: bool = False,
        at_limit: AtLimit = "",
        max_waiting_per_key: int = 0,
        types: Mapping[str, str] | None = None,
        max_debt_ms: int = 0,
    ) -> bool:
        """Make a limit, or change all of it; returns whether it is new.

        `max_running`: the cost of the jobs of a key that may run at a time (None: any, 0: none). `rate`: the pace at
        which they may start. `per_key`: each key has all of it for itself; this never changes. `types`: all new jobs of
        these types are under it, with the value of the named metadata field as key. `at_limit` "cancel_newest" cancels
        a new job for which there is no room, instead of letting it wait. `max_debt_ms`: how far ahead the use of the
        rate may be corrected.
        """
        settings = LimitSettings(
            text("name", name),
            max_running if max_running is None else integer("max_running", max_running),
            _rate(rate),
            per_key,
            at_limit,
            integer("max_waiting_per_key", max_waiting_per_key),
            {text("types", each): text("types", field) for each, field in (types or {}).items()},
            integer("max_debt_ms", max_debt_ms),
        )
        session = self._open()
        done = await _change(session, PutLimitRequest(settings))
        return done.created

    async def get(self, name: str) -> LimitInfo:
        """One limit and its use."""
        session, request = self._open(), LimitRequest(text("name", name))
        return (await read(session, lambda: session.transport.ask(request, timeout_ms=session.timeout_ms))).limit

    async def all(self) -> list[LimitInfo]:
        """All limits, in order of their names."""
        session = self._open()
        ask = partial(session.transport.ask, ListLimitsRequest(), timeout_ms=session.timeout_ms)
        return (await read(session, ask)).limits

    async def delete(self, name: str, *, detach: bool = False) -> bool:
        """Delete a limit; returns whether there was one. Refused while live jobs name it, unless `detach`: then they
        run without it."""
        session = self._open()
        done = await _change(session, DeleteLimitRequest(text("name", name), detach))
        return done.deleted

    async def override(
        self,
        name: str,
        key: str,
        *,
        max_running: int | None = None,
        rate: Rate | None = None,
        expires_at: datetime | int = 0,
    ) -> None:
        """Other numbers for one key, until `expires_at` (0: for good). What is None is as the limit says."""
        most = max_running if max_running is None else integer("max_running", max_running)
        override = LimitOverride(most, _rate(rate), to_epoch_ms("expires_at", expires_at))
        await self._set(name, key, override)

    async def clear_override(self, name: str, key: str) -> None:
        """The key has the limit's own numbers again."""
        await self._set(name, key, None)

    async def keys(self, name: str, *, at_limit: bool = False) -> AsyncIterator[LimitKeyInfo]:
        """The keys that are in use, in order; with `at_limit` only those without room."""
        session = self._open()
        text("name", name)
        token = ""
        while True:
            request = ListLimitKeysRequest(name, at_limit, KEYS_PER_PAGE, token)
            page = await read(session, partial(session.transport.ask, request, timeout_ms=session.timeout_ms))
            for key in page.keys:
                yield key
            token = page.next_page_token
            if not token:
                return

    async def reset(self, name: str, key: str = "") -> None:
        """Forget what was started of a key, and that it was to be held. What runs still counts."""
        session = self._open()
        await _change(session, ResetLimitKeyRequest(text("name", name), text("key", key)))

    async def _set(self, name: str, key: str, override: LimitOverride | None) -> None:
        session = self._open()
        request = SetLimitOverrideRequest(text("name", name), text("key", key), override)
        await _change(session, request)


async def _change(session: Session, question: Question[C]) -> C:
    """These calls come to the same however often they are sent."""
    return await session.change(lambda: session.transport.ask(question, timeout_ms=session.timeout_ms))


def _rate(rate: Rate | None) -> Rate | None:
    if rate is None:
        return None
    return Rate(*(integer(f"rate.{field}", value) for field, value in zip(Rate._fields, rate, strict=True)))

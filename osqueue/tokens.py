"""Who may call, and what each may do: `client.tokens`."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from functools import partial

from osqueue.access_messages import (
    AuditEntry,
    AuditPage,
    AuditRequest,
    NewToken,
    NewTokenRequest,
    RevokeTokenRequest,
    RotatedToken,
    RotateTokenRequest,
    TokenInfo,
    TokenPage,
    TokensRequest,
    WhoAmI,
    WhoAmIRequest,
)
from osqueue.calls.reading import read
from osqueue.session import Session
from osqueue.submission import text, to_epoch_ms

TOKENS_PER_PAGE = 1_000


class Tokens:
    """The tokens that a broker lets in, over whatever transport the client has.

        new = await client.tokens.create("nightly builds", ["submit:build.*", "read"])
        print(new.token)  # shown this once

    Scopes are `submit`, `work`, `read`, `read.payload`, `manage`, `operate` and `admin`, the first two also for some
    types alone (`submit:email.*`); `producer`, `worker`, `viewer` and `operator` stand for those that the usual callers
    need. All but `who_am_i` need the scope `admin`: `AuthError` otherwise. Changes are tried once, since a second try
    could make a second token: after a `TransportConnectionError`, or an `EngineStateError` with the reason
    OUTCOME_UNKNOWN, `list` tells whether they happened.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session

    async def who_am_i(self) -> WhoAmI:
        """Who this client is to the broker, and what it may do."""
        session = self._open_session()
        return await session.run(lambda: session.transport.ask(WhoAmIRequest(), timeout_ms=session.timeout_ms))

    async def create(self, name: str, scopes: Iterable[str], *, expires_at: datetime | int = 0) -> NewToken:
        """Make a token. `name` is for people, up to 100 characters. `expires_at`: a datetime, or milliseconds since the
        epoch; 0: never. `BrokerProtocolError` for scopes that do not exist, and where no token is asked for."""
        session = self._open_session()
        request = NewTokenRequest(text("name", name), list(scopes), to_epoch_ms("expires_at", expires_at))
        return await session.transport.ask(request, timeout_ms=session.timeout_ms)

    async def list(self) -> AsyncIterator[TokenInfo]:
        """All tokens in order of their ids, without their secrets, as you iterate."""
        session = self._open_session()
        after = ""
        while True:
            page = await session.run(partial(_page, session, after))
            for token in page.tokens:
                yield token
            after = page.next_page_token
            if not after:
                return

    async def rotate(self, token_id: str, *, revoke_old: bool = False) -> RotatedToken:
        """Give a token another secret. The one before is let in until the next rotation, so that callers change over
        one by one; with `revoke_old` it is refused at once. `BrokerProtocolError` when there is no such token."""
        session = self._open_session()
        request = RotateTokenRequest(text("token_id", token_id), revoke_old)
        return await session.transport.ask(request, timeout_ms=session.timeout_ms)

    async def audit(
        self, *, principal: str = "", action: str = "", since: datetime | int = 0
    ) -> AsyncIterator[AuditEntry]:
        """Who cancelled, retried, paused, resumed or purged, and who asked the leader to step down: the newest first,
        as you iterate. Needs the scope `operate`.

        `principal` "": anybody. `action` "": any of "cancel", "retry", "purge", "pause", "resume", "step_down",
        "put_schedule", "delete_schedule", "pause_schedule", "resume_schedule", "put_limit", "delete_limit",
        "override_limit", "reset_limit", "put_fairness_weight". `since`: a datetime, or milliseconds since the epoch.
        The last 10,000 are kept. `BrokerProtocolError` for other actions.
        """
        session = self._open_session()
        after = ""
        start = to_epoch_ms("since", since)
        while True:
            request = AuditRequest(text("principal", principal), action, start, TOKENS_PER_PAGE, after)
            page = await read(session, partial(_audit_page, session, request))
            for entry in page.entries:
                yield entry
            after = page.next_page_token
            if not after:
                return

    async def revoke(self, token_id: str) -> None:
        """Let nobody in by this token; streams that it opened end. `BrokerProtocolError` when there is none."""
        session = self._open_session()
        request = RevokeTokenRequest(text("token_id", token_id))
        await session.transport.ask(request, timeout_ms=session.timeout_ms)


async def _audit_page(session: Session, request: AuditRequest) -> AuditPage:
    return await session.transport.ask(request, timeout_ms=session.timeout_ms)


async def _page(session: Session, after: str) -> TokenPage:
    return await session.transport.ask(TokensRequest(TOKENS_PER_PAGE, after), timeout_ms=session.timeout_ms)

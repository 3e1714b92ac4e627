"""What the transports to a gateway share: its addresses, the token, and aiohttp, which is imported only here."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from osqueue.credentials import Credentials
from osqueue.errors import OsqueueError, TransportConfigError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.causes import as_error, of_http

if TYPE_CHECKING:
    import aiohttp

KEEPALIVE_S = 60.0
"""Below the gateway's 75 s, so that it never closes a connection that we are about to use."""

CONNECT_S = 2.5
"""How long one attempt to connect may take, a second or two to the far side of the earth included."""


class Gateways:
    """Where the gateways are. A call that cannot reach one sends the next call to another."""

    def __init__(self, endpoints: Sequence[Endpoint], token: str | Credentials) -> None:
        self.endpoints = tuple(endpoints)
        self.credentials = Credentials.of(token)
        self.heard = False
        """A gateway has answered."""
        self.heard_at = float("-inf")
        self._current = 0
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where calls go at the moment."""
        return self.endpoints[self._current]

    def url(self, endpoint: Endpoint, scheme: str, path: str) -> str:
        """`scheme` without its final s."""
        return f"{scheme}{'s' if endpoint.secure else ''}://{endpoint.authority}{endpoint.path}{path}"

    def move_on(self, endpoint: Endpoint) -> None:
        """`endpoint` cannot be reached; if calls still go there, send them to the next one."""
        if self.endpoint is endpoint:
            self._current = (self._current + 1) % len(self.endpoints)

    def hear(self) -> None:
        """A gateway has answered, or said something: its connections live."""
        self.heard = True
        self.heard_at = time.monotonic()

    async def silent_since(self, asked_at: float) -> None:
        """A call made then had no answer in time. If nothing else was heard either, the connections are dead, whatever
        they look like: the next call opens others."""
        if self.heard_at < asked_at:
            await self.close()

    def unreachable(self, endpoint: Endpoint, error: BaseException) -> OsqueueError:
        """What it means that `endpoint` could not be reached, or the connection broke."""
        return as_error(of_http(error, endpoint.authority, endpoint.secure), heard=self.heard)

    def session(self) -> "aiohttp.ClientSession":
        """The connections, opened on demand in the running loop."""
        if self._session is None:
            aiohttp = import_aiohttp()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=KEEPALIVE_S,
                    ssl=self.credentials.tls.context() if self.credentials.tls.is_set else True,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            )
        return self._session

    async def headers(self) -> dict[str, str]:
        """What every request shows."""
        token = await self.credentials.token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def after(self, error: OsqueueError, shown: dict[str, str]) -> OsqueueError:
        """What an error means that a request met which showed these headers: see `Credentials.after`."""
        return await self.credentials.after(error, shown.get("Authorization", "").removeprefix("Bearer "))

    async def close(self) -> None:
        """Close the connections; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def import_aiohttp() -> Any:
    """aiohttp, or an error that says how to get it."""
    try:
        import aiohttp
    except ImportError as error:
        raise TransportConfigError(
            "the rest, ws and connect transports need aiohttp: install osqueue[gateway]"
        ) from error
    return aiohttp

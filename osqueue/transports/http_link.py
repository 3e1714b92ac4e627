"""What REST and Connect share: one request per call, and long waits in turns."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from osqueue.credentials import Credentials
from osqueue.errors import TransportConnectionError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.http import Gateways, import_aiohttp
from osqueue.transports.json_errors import too_late

TURN_MS = 2_000
SILENCE_MS = 3_000
"""HTTP has no pings, so that a dead connection looks like a long wait. A wait is asked for in turns of TURN_MS, and a
gateway that is silent for SILENCE_MS more is asked again on another connection."""


class HttpLink:
    """Calls as requests to gateways. `_ask` makes one attempt of a call that answers at once, or within its turn."""

    def __init__(self, endpoints: Sequence[Endpoint], token: str | Credentials = "") -> None:
        self._gateways = Gateways(endpoints, token)
        self._hasty = True
        """The last wait was answered in time: the next may count on it."""

    @property
    def address(self) -> str:
        return self._gateways.endpoint.authority

    def clone(self) -> Self:
        return type(self)(self._gateways.endpoints, self._gateways.credentials)

    async def close(self) -> None:
        await self._gateways.close()

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """One attempt of the unary RPC `name`."""
        wait_ms = getattr(request, "wait_ms", 0)
        if wait_ms <= 0:
            return await self._ask(name, request, timeout_ms)
        turn = type(request)()
        turn.CopyFrom(request)
        started = time.monotonic()
        while True:
            elapsed_ms = round((time.monotonic() - started) * 1_000)
            turn.wait_ms = max(1, min(TURN_MS, wait_ms - elapsed_ms))
            limit_ms = timeout_ms - elapsed_ms
            if self._hasty:
                limit_ms = min(limit_ms, turn.wait_ms + SILENCE_MS)
            try:
                answer = await self._ask(name, turn, limit_ms)
            except TransportConnectionError:
                self._hasty = False
                raise
            self._hasty = True
            if _found(answer) or elapsed_ms + turn.wait_ms >= min(wait_ms, timeout_ms):
                return answer

    async def _ask(self, name: str, request: Any, timeout_ms: int) -> Any:
        raise NotImplementedError

    async def _send(
        self,
        name: str,
        method: str,
        path: Any,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout_ms: int,
        endpoint: Endpoint,
    ) -> tuple[int, bytes]:
        """Status and content of the answer, whoever gave it."""
        from yarl import URL

        aiohttp = import_aiohttp()
        url = URL(self._gateways.url(endpoint, "http", path), encoded=True)
        asked_at = time.monotonic()
        try:
            async with (
                asyncio.timeout(timeout_ms / 1_000),
                self._gateways.session().request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status, await response.read()
        except TimeoutError as error:
            await self._gateways.silent_since(asked_at)
            self._gateways.move_on(endpoint)
            raise too_late(endpoint.authority, name, timeout_ms) from error
        except aiohttp.ClientError as error:
            self._gateways.move_on(endpoint)
            raise self._gateways.unreachable(endpoint, error) from error


def _found(answer: Any) -> bool:
    """What was waited for has come: the end of a job, or jobs."""
    return bool(answer.finished if hasattr(answer, "finished") else answer.jobs)

"""The REST transport: the API's calls as HTTP requests to a gateway."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from osqueue.api.events import frame_of
from osqueue.api.json_shapes import read_answer, shape
from osqueue.api.json_text import JsonError, encode
from osqueue.api.queries import query_of
from osqueue.errors import OsqueueError, TransportConnectionError, TransportRequestError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.connect_stream import connect_stream
from osqueue.transports.http import Gateways, import_aiohttp
from osqueue.transports.json_errors import from_tagged, too_late
from osqueue.transports.wire import WireTransport
from osqueue_protocol.rpcs import CLIENT_RPCS

ROUTES = {name: rpc.routes[0] for name, rpc in CLIENT_RPCS.items() if rpc.routes}
"""The main route of each RPC."""

TURN_MS = 2_000
SILENCE_MS = 3_000
"""HTTP has no pings, so that a dead connection looks like a long wait. A wait is asked for in turns of TURN_MS, and a
gateway that is silent for SILENCE_MS more is asked again on another connection."""

JSON_HEADERS = {"Content-Type": "application/json"}


class RestLink:
    """One request per call."""

    def __init__(self, endpoints: Sequence[Endpoint], token: str = "") -> None:
        self._gateways = Gateways(endpoints, token)
        self._hasty = True
        """The last wait was answered in time: the next may count on it."""

    @property
    def address(self) -> str:
        return self._gateways.endpoint.authority

    def clone(self) -> "RestLink":
        return RestLink(self._gateways.endpoints, self._gateways.token)

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
            if _found(answer) or elapsed_ms + turn.wait_ms >= wait_ms:
                return answer

    async def _ask(self, name: str, request: Any, timeout_ms: int) -> Any:
        aiohttp = import_aiohttp()
        endpoint = self._gateways.endpoint
        method, path, body = _http(name, request)
        url = self._gateways.url(endpoint, "http", path)
        asked_at = time.monotonic()
        try:
            async with (
                asyncio.timeout(timeout_ms / 1_000),
                self._gateways.session().request(
                    method, _encoded(url), data=body, headers=JSON_HEADERS if body else None, allow_redirects=False
                ) as response,
            ):
                status, content = response.status, await response.read()
        except TimeoutError as error:
            await self._gateways.silent_since(asked_at)
            self._gateways.move_on(endpoint)
            raise too_late(endpoint.authority, name, timeout_ms) from error
        except aiohttp.ClientError as error:
            self._gateways.move_on(endpoint)
            raise self._gateways.unreachable(endpoint, error) from error
        try:
            if status != 200:
                raise _error(content, method, path, status)
            answer = read_answer(content, CLIENT_RPCS[name].response())
        except TransportRequestError:
            self._gateways.move_on(endpoint)
            raise
        except JsonError as error:
            self._gateways.move_on(endpoint)
            raise _not_understood(method, path, status, error) from error
        self._gateways.hear()
        return answer

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of WatchJobs, from server-sent events; those of GetState by Connect."""
        if name != "WatchJobs":
            async for message in connect_stream(self._gateways, name, request):
                yield message
            return
        aiohttp = import_aiohttp()
        endpoint = self._gateways.endpoint
        method, path, _ = _http(name, request)
        url = self._gateways.url(endpoint, "http", path)
        try:
            async with self._gateways.session().get(_encoded(url), allow_redirects=False) as response:
                if response.status != 200:
                    raise _error(await response.read(), method, path, response.status)
                if response.content_type != "text/event-stream":
                    raise from_tagged(None, method=method, path=path, status=response.content_type)
                async for event, data, identifier in _events(response.content):
                    self._gateways.hear()
                    if event == "error":
                        raise _error(data.encode(), method, path, response.status)
                    message = frame_of(event, data.encode())
                    if message is None:
                        continue
                    if identifier:
                        epoch, _, sequence = identifier.partition(".")
                        message.position.epoch, message.position.sequence = int(epoch), int(sequence)
                    yield message
        except ValueError as error:
            raise _not_understood(method, path, 200, error) from error
        except aiohttp.ClientError as error:
            self._gateways.move_on(endpoint)
            raise self._gateways.unreachable(endpoint, error) from error


class RestTransport(WireTransport):
    """Speaks HTTP to a gateway."""

    def __init__(self, endpoints: Sequence[Endpoint], *, token: str = "") -> None:
        super().__init__("rest", RestLink(endpoints, token))


def _found(answer: Any) -> bool:
    """What was waited for has come: the end of a job, or jobs."""
    return bool(answer.finished if hasattr(answer, "finished") else answer.jobs)


def _http(name: str, request: Any) -> tuple[str, str, bytes | None]:
    """(method, path with query, body)."""
    route = ROUTES[name]
    method, path = route.method, route.path
    if route.path_field:
        path = path.replace("{id}", quote(getattr(request, route.path_field), safe=""))
        rest = type(request)()
        rest.CopyFrom(request)
        rest.ClearField(route.path_field)
        request = rest
    if method == "POST":
        return method, path, encode(shape(request.DESCRIPTOR).write_request(request))
    query = urlencode(list(query_of(request)))
    return method, f"{path}?{query}" if query else path, None


def _encoded(url: str) -> Any:
    from yarl import URL

    return URL(url, encoded=True)


async def _events(lines: Any) -> AsyncIterator[tuple[str, str, str]]:
    """(event, data, id) of each server-sent event."""
    data: list[str] = []
    event, identifier = "message", ""
    async for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield event, "\n".join(data), identifier
            event, data, identifier = "message", [], ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            identifier = value


def _error(content: bytes, method: str, path: str, status: int) -> OsqueueError:
    try:
        found = json.loads(content)
    except ValueError:  # no error of a gateway's; which it is not is what the caller is told
        found = None
    return from_tagged(found, method=method, path=path, status=status)


def _not_understood(method: str, path: str, status: int, error: Exception) -> TransportRequestError:
    problem = TransportRequestError(f"the answer to {method} {path} is not understood: {error}")
    problem.method, problem.path, problem.status = method, path, status
    return problem

"""The REST transport: the API's calls as HTTP requests to a gateway."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from osqueue.api.events import frame_of
from osqueue.api.json_shapes import read_answer, shape
from osqueue.api.json_text import JsonError, encode
from osqueue.api.queries import query_of
from osqueue.credentials import Credentials
from osqueue.errors import OsqueueError, TransportRequestError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.connect_stream import connect_stream
from osqueue.transports.http import import_aiohttp
from osqueue.transports.http_link import HttpLink
from osqueue.transports.json_errors import from_tagged
from osqueue.transports.wire import WireTransport
from osqueue_protocol.rpcs import CLIENT_RPCS

ROUTES = {name: rpc.routes[0] for name, rpc in CLIENT_RPCS.items() if rpc.routes}
"""The main route of each RPC."""

JSON_HEADERS = {"Content-Type": "application/json"}


class RestLink(HttpLink):
    """One request per call."""

    async def _ask(self, name: str, request: Any, timeout_ms: int) -> Any:
        endpoint = self._gateways.endpoint
        method, path, body = _http(name, request)
        shown = await self._gateways.headers()
        headers = {**JSON_HEADERS, **shown} if body else shown
        status, content = await self._send(name, method, path, body, headers, timeout_ms, endpoint)
        try:
            if status != 200:
                raise await self._gateways.after(_error(content, method, path, status), shown)
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
        shown = await self._gateways.headers()
        try:
            async with self._gateways.session().get(_encoded(url), headers=shown, allow_redirects=False) as response:
                if response.status != 200:
                    refused = _error(await response.read(), method, path, response.status)
                    raise await self._gateways.after(refused, shown)
                if response.content_type != "text/event-stream":
                    raise from_tagged(None, method=method, path=path, status=response.content_type)
                async for event, data, identifier in _events(response.content):
                    self._gateways.hear()
                    if event == "error":
                        refused = _error(data.encode(), method, path, response.status)
                        raise await self._gateways.after(refused, shown)
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

    def __init__(self, endpoints: Sequence[Endpoint], *, token: str | Credentials = "") -> None:
        super().__init__("rest", RestLink(endpoints, token))


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

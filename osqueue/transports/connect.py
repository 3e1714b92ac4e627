"""The Connect transport: the API's messages as they are, in HTTP requests to a gateway."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from osqueue.api.descriptors import RPCS
from osqueue.credentials import Credentials
from osqueue.errors import TransportRequestError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.connect_stream import connect_stream, not_understood, refused
from osqueue.transports.http_link import HttpLink
from osqueue.transports.wire import WireTransport

HEADERS = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}


class ConnectLink(HttpLink):
    """One request per call, in protobuf's own encoding."""

    async def _ask(self, name: str, request: Any, timeout_ms: int) -> Any:
        endpoint, path = self._gateways.endpoint, RPCS[name].path
        shown = await self._gateways.headers()
        headers = {**HEADERS, **shown, "Connect-Timeout-Ms": str(max(1, timeout_ms))}
        body = request.SerializeToString()
        status, content = await self._send(name, "POST", path, body, headers, timeout_ms, endpoint)
        try:
            if status != 200:
                raise await self._gateways.after(refused(content, path, status), shown)
            answer = RPCS[name].response.FromString(content)
        except TransportRequestError:  # a load balancer's page, say: another gateway may be one
            self._gateways.move_on(endpoint)
            raise
        except DecodeError as error:
            self._gateways.move_on(endpoint)
            raise not_understood(path, str(error)) from error
        self._gateways.hear()
        return answer

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of the stream `name`."""
        async for message in connect_stream(self._gateways, name, request):
            yield message


class ConnectTransport(WireTransport):
    """Speaks Connect to a gateway."""

    def __init__(self, endpoints: Sequence[Endpoint], *, token: str | Credentials = "") -> None:
        super().__init__("connect", ConnectLink(endpoints, token))

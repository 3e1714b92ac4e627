"""The Connect protocol as an unmodified client speaks it, so that it can be held to the same suite as the SDK's own."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from google.rpc import error_details_pb2

from osqueue.api.descriptors import RPCS
from osqueue.errors import DEADLINE_EXCEEDED, OsqueueError, TransportConnectionError, Violation, from_reason

END_OF_STREAM = 2


class ConnectLink:
    """Unary calls and server streams with the binary codec."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    def clone(self) -> "ConnectLink":
        return ConnectLink(self.address, self._token)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        headers = {"Content-Type": "application/proto", "Connect-Timeout-Ms": str(timeout_ms)}
        try:
            async with (
                asyncio.timeout(timeout_ms / 1_000),
                self._post(name, request.SerializeToString(), headers) as http,
            ):
                content = await http.read()
        except TimeoutError as error:
            raise TransportConnectionError("no answer in time", reason=DEADLINE_EXCEEDED) from error
        except aiohttp.ClientError as error:
            raise TransportConnectionError(str(error)) from error
        if http.status != 200:
            raise _error(json.loads(content))
        return RPCS[name].response.FromString(content)

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        body = request.SerializeToString()
        headers = {"Content-Type": "application/connect+proto"}
        async with self._post(name, b"\0" + len(body).to_bytes(4, "big") + body, headers) as http:
            if http.status != 200:
                raise _error(json.loads(await http.read()))
            while True:
                flags, *size = await http.content.readexactly(5)
                message = await http.content.readexactly(int.from_bytes(bytes(size), "big"))
                if flags & END_OF_STREAM:
                    end = json.loads(message)
                    if "error" in end:
                        raise _error(end["error"])
                    return
                yield RPCS[name].response.FromString(message)

    def _post(self, name: str, body: bytes, headers: dict[str, str]) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers |= {"Authorization": f"Bearer {self._token}", "Connect-Protocol-Version": "1"}
        return self._session.post(f"http://{self.address}{RPCS[name].path}", data=body, headers=headers)


def _error(found: dict[str, Any]) -> OsqueueError:
    reason, job_id, violations = "", "", []
    for detail in found.get("details", []):
        value = base64.b64decode(detail["value"] + "==")
        if detail["type"] == "google.rpc.ErrorInfo":
            info = error_details_pb2.ErrorInfo.FromString(value)
            reason, job_id = info.reason, info.metadata.get("job_id", "")
        elif detail["type"] == "google.rpc.BadRequest":
            wrong = error_details_pb2.BadRequest.FromString(value).field_violations
            violations = [Violation(one.field, one.description) for one in wrong]
    return from_reason(reason, found.get("message", ""), violations=violations, job_id=job_id)

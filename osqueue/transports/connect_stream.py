"""Server streams from a gateway by the Connect protocol, for those that REST and WebSocket show in another form.

The gateway's `/state` is the original queue.json, with fewer fields than the API's jobs have, and its WebSocket has no
streams but watches. Connect carries the very messages.
"""

import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from osqueue.api.descriptors import RPCS
from osqueue.errors import OsqueueError, TransportConnectionError, TransportRequestError, Violation, from_reason
from osqueue.transports.http import Gateways, import_aiohttp

HEADERS = {"Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1"}
END = 0b10
COMPRESSED = 0b01
ENVELOPE = struct.Struct(">BI")
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Larger than any message of the API."""


async def connect_stream(gateways: Gateways, name: str, request: Any) -> AsyncIterator[Any]:
    """The messages of the server stream `name`, until the gateway or the connection ends it."""
    aiohttp = import_aiohttp()
    endpoint, path = gateways.endpoint, RPCS[name].path
    body, shown = request.SerializeToString(), await gateways.headers()
    try:
        async with gateways.session().post(
            gateways.url(endpoint, "http", path),
            data=ENVELOPE.pack(0, len(body)) + body, headers={**HEADERS, **shown}, allow_redirects=False,
        ) as response:  # fmt: skip
            if response.status != 200:
                raise await gateways.after(refused(await response.read(), path, response.status), shown)
            while True:
                flags, size = ENVELOPE.unpack(await response.content.readexactly(ENVELOPE.size))
                if flags & COMPRESSED or size > MESSAGE_BYTES_MAX:
                    raise not_understood(path, f"a frame with flags {flags:#x} and {size} bytes")
                frame = await response.content.readexactly(size)
                if flags & END:
                    _end(frame, path)
                    return
                gateways.hear()
                yield RPCS[name].response.FromString(frame)
    except TransportRequestError:  # a load balancer's page, say: another gateway may be one
        gateways.move_on(endpoint)
        raise
    except (ValueError, DecodeError) as error:
        gateways.move_on(endpoint)
        raise not_understood(path, str(error)) from error
    except EOFError as error:  # asyncio.IncompleteReadError
        raise TransportConnectionError(f"{endpoint.authority} broke off the answer to POST {path}") from error
    except aiohttp.ClientError as error:
        gateways.move_on(endpoint)
        raise gateways.unreachable(endpoint, error) from error


def _end(frame: bytes, path: str) -> None:
    """The end of a stream: return, or raise the error that it tells."""
    found = json.loads(frame or b"{}").get("error")
    if found is not None:
        raise _error(found)


def refused(content: bytes, path: str, status: int) -> OsqueueError:
    """What an answer means that is none of a call's: the gateway's error, or somebody else's page."""
    try:
        found = json.loads(content)
        return _error(found) if isinstance(found, dict) and "code" in found else _not_ours(path, status)
    except ValueError:  # no JSON: not an answer of a gateway's
        return _not_ours(path, status)


def _not_ours(path: str, status: int) -> OsqueueError:
    return _problem(f"POST {path} was answered with {status}, and not by a gateway of osqueue", path, status)


def not_understood(path: str, why: str) -> OsqueueError:
    """The error for an answer that is not what it says it is."""
    return _problem(f"the answer to POST {path} is not understood: {why}", path, 200)


def _problem(message: str, path: str, status: int) -> OsqueueError:
    error = TransportRequestError(message)
    error.method, error.path, error.status = "POST", path, status
    return error


def _error(found: dict[str, Any]) -> OsqueueError:
    """The exception for an error object of Connect, by its google.rpc details."""
    reason, leader, job_id, violations, retry_after_ms = "", "", "", [], None
    details: Sequence[dict[str, str]] = found.get("details", ())
    for detail in details:
        value = base64.b64decode(detail["value"] + "==")
        if detail["type"] == "google.rpc.ErrorInfo":
            info = error_details_pb2.ErrorInfo.FromString(value)
            reason, leader = info.reason, info.metadata.get("leader", "")
            job_id = info.metadata.get("job_id", "")
        elif detail["type"] == "google.rpc.BadRequest":
            wrong = error_details_pb2.BadRequest.FromString(value).field_violations
            violations = [Violation(each.field, each.description) for each in wrong]
        elif detail["type"] == "google.rpc.RetryInfo":
            retry_after_ms = error_details_pb2.RetryInfo.FromString(value).retry_delay.ToMilliseconds()
    message = str(found.get("message", ""))
    return from_reason(
        reason, message, violations=violations, retry_after_ms=retry_after_ms, leader=leader, job_id=job_id
    )

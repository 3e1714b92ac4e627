"""gRPC statuses to the SDK's exceptions, in one place."""

from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from osqueue.errors import (
    DEADLINE_EXCEEDED,
    NOT_LEADER,
    PAYLOAD_TOO_LARGE,
    BrokerProtocolError,
    OsqueueError,
    TransportConnectionError,
    TransportRequestError,
    Violation,
    from_reason,
)
from osqueue.transports.causes import as_error, of_grpc
from osqueue_protocol.rpcs import CLIENT_RPCS

if TYPE_CHECKING:
    from grpc.aio import AioRpcError

DOMAIN = "osqueue"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
LEADER_KEY = "osqueue-leader"
"""Trailing metadata of NOT_LEADER: the leader's gRPC address, host:port."""

TOO_LARGE = "message larger than max"
"""What the library says where a message is beyond a limit, which no repetition changes. The broker's own limit is told
by its library, before the broker sees the message."""


def from_rpc_error(
    error: "AioRpcError", method: str, address: str, timeout_ms: int, *, secure: bool = False, heard: bool = True
) -> OsqueueError:
    """The exception for a failed call. A status without our details is not a broker's answer, whatever its code: a
    proxy gives it, or the library. `heard`: a broker has answered this caller before."""
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get(STATUS_DETAILS_KEY)
    message = error.details() or ""
    if isinstance(details, bytes):
        known = _from_details(details, message, method, trailers.get(LEADER_KEY, ""))
        if known is not None:
            return known
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return as_error(of_grpc(message, address, secure), heard=heard, reason=code.name)
    return _from_status(code, message, method, address, timeout_ms)


def _from_details(details: bytes, message: str, method: str, leader: str | bytes) -> OsqueueError | None:
    status = status_pb2.Status()
    try:
        status.ParseFromString(details)
    except DecodeError:  # not ours: the status code alone tells what to do
        return None
    reason = job_id = ""
    violations: list[Violation] = []
    retry_after_ms: int | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            if info.domain == DOMAIN:
                reason, job_id = info.reason, info.metadata.get("job_id", "")
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = [Violation(found.field, found.description) for found in bad.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after_ms = retry.retry_delay.ToMilliseconds()
    if not reason:
        return None
    if isinstance(leader, bytes):
        leader = leader.decode()
    return from_reason(
        reason,
        message or status.message,
        method=method,
        violations=violations,
        retry_after_ms=retry_after_ms,
        leader=leader if reason == NOT_LEADER else "",
        job_id=job_id,
    )


def _from_status(code: grpc.StatusCode, message: str, method: str, address: str, timeout_ms: int) -> OsqueueError:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TransportConnectionError(
            f"{address} did not answer {method} within {timeout_ms} ms", reason=DEADLINE_EXCEEDED
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in message:
        refused = BrokerProtocolError(f"{method} at {address}: {message}", reason=PAYLOAD_TOO_LARGE)
        refused.method = method
        return refused
    error = TransportRequestError(
        f"{address} answered {method} with {code.name}, which is not how a broker answers: {message}", reason=code.name
    )
    error.method, error.path, error.status = method, CLIENT_RPCS[method].path, code.name
    return error

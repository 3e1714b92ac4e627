"""What callers are told when a call fails: one table from the reason to HTTP, WebSocket and Connect."""

import logging
import secrets
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2

from osqueue.api.json_writers import json_path
from osqueue.errors import (
    DEADLINE_EXCEEDED,
    INVALID_REQUEST,
    NOT_LEADER,
    OUTCOME_UNKNOWN,
    BrokerLeadershipError,
    BrokerProtocolError,
    OsqueueError,
    QueueFullError,
    TransportConnectionError,
    TransportRequestError,
    UniqueConflictError,
    Violation,
)

log = logging.getLogger("osqueue.gateway")

DOMAIN = "osqueue"


class Fault(NamedTuple):
    """How one reason is shown."""

    status: int
    tag: str
    code: str
    """Connect's word for the gRPC status."""


FAULTS = {
    INVALID_REQUEST: Fault(400, "BrokerProtocolError", "invalid_argument"),
    "PAYLOAD_TOO_LARGE": Fault(413, "BrokerProtocolError", "invalid_argument"),
    "JOB_NOT_FOUND": Fault(404, "JobNotFoundError", "not_found"),
    "SCHEDULE_NOT_FOUND": Fault(404, "ScheduleNotFoundError", "not_found"),
    "QUEUE_NOT_FOUND": Fault(404, "QueueNotFoundError", "not_found"),
    "REVISION_CONFLICT": Fault(409, "RevisionConflictError", "aborted"),
    "BATCH_NOT_FOUND": Fault(404, "JobNotFoundError", "not_found"),
    "WORKFLOW_NOT_FOUND": Fault(404, "JobNotFoundError", "not_found"),
    "LEASE_LOST": Fault(409, "LeaseLostError", "failed_precondition"),
    "IDEMPOTENCY_CONFLICT": Fault(409, "IdempotencyConflictError", "already_exists"),
    "UNIQUE_CONFLICT": Fault(409, "UniqueConflictError", "already_exists"),
    "QUEUE_FULL": Fault(429, "QueueFullError", "resource_exhausted"),
    "TOO_MANY_REQUESTS": Fault(429, "QueueFullError", "resource_exhausted"),
    NOT_LEADER: Fault(503, "BrokerLeadershipError", "unavailable"),
    OUTCOME_UNKNOWN: Fault(503, "EngineStateError", "unavailable"),
    "STORAGE_UNAVAILABLE": Fault(503, "StorageBackendError", "unavailable"),
    "UNAUTHENTICATED": Fault(401, "AuthError", "unauthenticated"),
    "PERMISSION_DENIED": Fault(403, "AuthError", "permission_denied"),
    "INTERNAL": Fault(500, "EngineStateError", "internal"),
    # No reasons of the contract: what a broker says to an RPC that it does not serve, and a caller's own time limit.
    "UNIMPLEMENTED": Fault(501, "BrokerProtocolError", "unimplemented"),
    DEADLINE_EXCEEDED: Fault(504, "EngineStateError", "deadline_exceeded"),
}

CONNECT_STATUS = {
    "invalid_argument": 400,
    "not_found": 404,
    "failed_precondition": 400,
    "already_exists": 409,
    "aborted": 409,
    "resource_exhausted": 429,
    "unavailable": 503,
    "unauthenticated": 401,
    "permission_denied": 403,
    "internal": 500,
    "unimplemented": 501,
    "deadline_exceeded": 504,
}
"""The HTTP status of each code, as the Connect protocol has it."""

RETRY_AFTER_MS = {"QUEUE_FULL": 1_000, "TOO_MANY_REQUESTS": 1_000, NOT_LEADER: 1_000}
"""What callers are advised when the broker gave no advice of its own."""


class Refusal(BrokerProtocolError):
    """A request refused for what it is in HTTP: its path, method, media type, size or pace."""

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None, close: bool = False
    ) -> None:
        super().__init__(message, reason="PAYLOAD_TOO_LARGE" if status == 413 else INVALID_REQUEST)
        self.status = status
        self.headers = headers or {}
        self.close = close
        """The connection cannot go on: what was sent has not been read to its end."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A failed call in the words of the contract."""

    reason: str
    message: str
    fault: Fault
    violations: tuple[Violation, ...] = ()
    retry_after_ms: int | None = None
    leader: str = ""
    job_id: str = ""
    """With UNIQUE_CONFLICT: the job that holds the key."""

    def as_json(self) -> dict[str, Any]:
        """The error object of REST and WebSocket."""
        out: dict[str, Any] = {"_tag": self.fault.tag, "message": self.message, "reason": self.reason}
        if self.violations:
            out["violations"] = [{"field": json_path(field), "description": text} for field, text in self.violations]
        if self.retry_after_ms is not None:
            out["retryAfterMs"] = self.retry_after_ms
        if self.leader:
            out["leader"] = self.leader
        if self.job_id:
            out["jobId"] = self.job_id
        return out

    def as_connect(self) -> dict[str, Any]:
        """The error object of Connect, with google.rpc details."""
        return {"code": self.fault.code, "message": self.message, "details": [*self._details()]}

    def _details(self) -> list[dict[str, str]]:
        metadata = {name: value for name, value in (("leader", self.leader), ("job_id", self.job_id)) if value}
        details: list[Any] = [error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata)]
        if self.violations:
            wrong = [
                error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
                for field, text in self.violations
            ]
            details.append(error_details_pb2.BadRequest(field_violations=wrong))
        if self.retry_after_ms is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(self.retry_after_ms)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        return [_packed(detail) for detail in details]


def problem_of(error: Exception, *, mutates: bool = False) -> Problem:
    """Any exception as its caller hears it. What nobody foresaw is logged, under an id that the caller is told."""
    if isinstance(error, (TransportConnectionError, TransportRequestError)):  # nobody, or no broker, answered
        error = _unreachable(error, mutates)
    if isinstance(error, OsqueueError) and error.reason in FAULTS:
        fault = FAULTS[error.reason]
        if isinstance(error, Refusal):
            fault = fault._replace(status=error.status)
        retry_after_ms = error.retry_after_ms or RETRY_AFTER_MS.get(error.reason)
        leader = error.leader if isinstance(error, BrokerLeadershipError) else ""
        job_id = error.job_id if isinstance(error, UniqueConflictError) else ""
        return Problem(error.reason, error.message, fault, error.violations, retry_after_ms, leader, job_id)
    number = secrets.token_hex(6)
    log.error("a call failed in a way nobody foresaw; error id %s", number, exc_info=error)
    return Problem("INTERNAL", f"internal error of the gateway, logged as {number}", FAULTS["INTERNAL"])


def overloaded(what: str) -> QueueFullError:
    """A limit of the gateway is reached; the message names it."""
    return QueueFullError(f"the gateway is at its limit of {what}; try again", reason="TOO_MANY_REQUESTS")


def _unreachable(error: OsqueueError, mutates: bool) -> OsqueueError:
    """No answer came. Of a change that means that it may have happened; of a question, that nobody leads."""
    never_sent = "failed to connect" in error.message or "connection refused" in error.message.lower()
    if mutates and not never_sent:
        return OsqueueError(f"{error.message}; it may or may not have happened", reason=OUTCOME_UNKNOWN)
    if error.reason == DEADLINE_EXCEEDED:
        return OsqueueError(error.message, reason=NOT_LEADER)
    return OsqueueError(f"no broker leads: {error.message}", reason=NOT_LEADER)


def _packed(detail: Any) -> dict[str, str]:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return {
        "type": packed.TypeName(),
        "value": b64encode(packed.value).decode().rstrip("="),
    }

"""Every error the SDK raises on purpose: one class per tag of the public contract.

`tag` is what REST and WebSocket answers call `_tag`; `reason` is the finer word of the
gRPC contract, such as PAYLOAD_TOO_LARGE, and empty for errors that never left this
process. Each edge translates once: gRPC statuses in `transports/grpc_errors.py`, tagged
JSON in `from_tag`.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeGuard


class Violation(NamedTuple):
    """One field that was wrong, and what it must be instead."""

    field: str
    description: str


class OsqueueError(Exception):
    """Base of all of them.

    `violations` names the fields at fault; `retry_after_ms` is set where trying the same call again later can help;
    `job_id` where one job is to blame.
    """

    tag: ClassVar[str] = "OsqueueError"
    job_id: str = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: Sequence[Violation] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return self.message


class BrokerProtocolError(OsqueueError):
    """The request can never succeed as it is: a field is missing, malformed or beyond its limit."""

    tag = "BrokerProtocolError"
    method: str = ""


class JobNotFoundError(OsqueueError):
    """No job has this id: it never existed, or it finished and its retention has passed."""

    tag = "JobNotFoundError"


class ScheduleNotFoundError(OsqueueError):
    """No schedule has this id: it was never put, or it was deleted."""

    tag = "ScheduleNotFoundError"


class QueueNotFoundError(OsqueueError):
    """No queue has this name: it was never created, or it was deleted. The message names some that are called nearly
    so."""

    tag = "QueueNotFoundError"


class RevisionConflictError(OsqueueError):
    """The schedule has another revision than was expected: somebody else changed it. Nothing was changed."""

    tag = "RevisionConflictError"


class LeaseLostError(OsqueueError):
    """The caller does not hold the job's lease, or no longer does. Nothing was changed."""

    tag = "LeaseLostError"


class IdempotencyConflictError(OsqueueError):
    """The idempotency key was used before with other content."""

    tag = "IdempotencyConflictError"


class UniqueConflictError(OsqueueError):
    """Another job holds the unique key: `job_id`. Nothing was changed."""

    tag = "UniqueConflictError"


class QueueFullError(OsqueueError):
    """The queue (reason QUEUE_FULL) or the broker (TOO_MANY_REQUESTS) is at a limit, which the message names."""

    tag = "QueueFullError"


class BrokerLeadershipError(OsqueueError):
    """The broker that answered does not lead; `leader` is the address of the one that does, if it is known."""

    tag = "BrokerLeadershipError"
    leader: str = ""


class EngineStateError(OsqueueError):
    """The broker could not finish the call.

    Reason OUTCOME_UNKNOWN: the change may or may not be durable. INTERNAL: a defect, logged by the broker under the id
    that the message shows.
    """

    tag = "EngineStateError"


class StorageBackendError(OsqueueError):
    """The object store does not answer. Nothing was changed."""

    tag = "StorageBackendError"


class CASConflictError(OsqueueError):
    """Somebody else changed an object between our reading and our writing it."""

    tag = "CASConflictError"


class AuthError(OsqueueError):
    """The call carries no valid token (UNAUTHENTICATED), or may not be made from here (PERMISSION_DENIED)."""

    tag = "AuthError"


class CodecError(OsqueueError):
    """A payload or result could not be encoded or decoded: the message says whose, and what is missing."""

    tag = "CodecError"


class ConfigError(OsqueueError):
    """A setting is missing or wrong. The message names it and says what to do."""

    tag = "ConfigError"


class DiscoveryError(OsqueueError):
    """The storage names no leader: it holds no queue, or no broker is running."""

    tag = "DiscoveryError"


class TransportConfigError(OsqueueError):
    """The transport cannot be used like this: a malformed address, a missing extra, another process or event loop."""

    tag = "TransportConfigError"


class TransportConnectionError(OsqueueError):
    """The broker cannot be reached, or did not answer in time (reason DEADLINE_EXCEEDED)."""

    tag = "TransportConnectionError"


class TransportRequestError(OsqueueError):
    """What answered does not speak the contract: something else listens there, or a proxy stands between.

    Passes for an outage, except where waiting does not help: `reason` WRONG_PROTOCOL, or `remote_tag` is set.
    """

    tag = "TransportRequestError"
    method: str = ""
    path: str = ""
    status: int | str = ""
    remote_tag: str = ""


class WorkerExecutionError(OsqueueError):
    """A handler did not bring its job to completion; `error_type` is the class of what it raised.

    For whoever waits for a result: the job is dead, or it was cancelled (`reason` CANCELLED).
    """

    tag = "WorkerExecutionError"
    job_id: str = ""
    error_type: str = ""


class JobNotFinishedError(OsqueueError, TimeoutError):
    """The time given to wait for a job's result is over. The job goes on."""

    tag = "JobNotFinishedError"
    job_id: str = ""


def is_osqueue_error(error: object) -> TypeGuard[OsqueueError]:
    """Whether `error` is one of these."""
    return isinstance(error, OsqueueError)


# The reasons of the gRPC contract.
INVALID_REQUEST = "INVALID_REQUEST"
NOT_LEADER = "NOT_LEADER"
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
CANCELLED = "CANCELLED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
INTERNAL = "INTERNAL"

# Of this side.
WRONG_PROTOCOL = "WRONG_PROTOCOL"

_BY_REASON: dict[str, type[OsqueueError]] = {
    INVALID_REQUEST: BrokerProtocolError,
    PAYLOAD_TOO_LARGE: BrokerProtocolError,
    "UNIMPLEMENTED": BrokerProtocolError,
    "JOB_NOT_FOUND": JobNotFoundError,
    "SCHEDULE_NOT_FOUND": ScheduleNotFoundError,
    "QUEUE_NOT_FOUND": QueueNotFoundError,
    "REVISION_CONFLICT": RevisionConflictError,
    "WORKFLOW_NOT_FOUND": JobNotFoundError,
    "BATCH_NOT_FOUND": JobNotFoundError,
    "LEASE_LOST": LeaseLostError,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflictError,
    "UNIQUE_CONFLICT": UniqueConflictError,
    "QUEUE_FULL": QueueFullError,
    TOO_MANY_REQUESTS: QueueFullError,
    NOT_LEADER: BrokerLeadershipError,
    OUTCOME_UNKNOWN: EngineStateError,
    INTERNAL: EngineStateError,
    "STORAGE_UNAVAILABLE": StorageBackendError,
    "UNAUTHENTICATED": AuthError,
    "PERMISSION_DENIED": AuthError,
}

_BY_TAG: dict[str, type[OsqueueError]] = {
    error.tag: error
    for error in (
        AuthError,
        BrokerLeadershipError,
        BrokerProtocolError,
        CASConflictError,
        ConfigError,
        DiscoveryError,
        EngineStateError,
        IdempotencyConflictError,
        JobNotFinishedError,
        JobNotFoundError,
        LeaseLostError,
        QueueFullError,
        QueueNotFoundError,
        RevisionConflictError,
        ScheduleNotFoundError,
        StorageBackendError,
        TransportConfigError,
        TransportConnectionError,
        TransportRequestError,
        UniqueConflictError,
        WorkerExecutionError,
    )
}


def from_reason(
    reason: str,
    message: str,
    *,
    method: str = "",
    violations: Sequence[Violation] = (),
    retry_after_ms: int | None = None,
    leader: str = "",
    job_id: str = "",
) -> OsqueueError:
    """The exception for a reason of the contract; an unknown reason, of a newer broker, is an `EngineStateError`."""
    kind = _BY_REASON.get(reason, EngineStateError)
    error = kind(message, reason=reason, violations=violations, retry_after_ms=retry_after_ms)
    if isinstance(error, BrokerLeadershipError):
        error.leader = leader
    elif isinstance(error, BrokerProtocolError):
        error.method = method
    if job_id:
        error.job_id = job_id
    return error


def from_tag(
    tag: str,
    message: str,
    *,
    reason: str = "",
    method: str = "",
    path: str = "",
    status: int | str = "",
    violations: Sequence[Violation] = (),
    retry_after_ms: int | None = None,
) -> OsqueueError:
    """The exception for a tagged JSON error; an unknown tag becomes a `TransportRequestError` that carries it."""
    kind = _BY_TAG.get(tag, TransportRequestError)
    error = kind(message, reason=reason, violations=violations, retry_after_ms=retry_after_ms)
    if isinstance(error, BrokerProtocolError):
        error.method = method
    elif isinstance(error, TransportRequestError):
        error.method, error.path, error.status, error.remote_tag = method, path, status, tag
    return error

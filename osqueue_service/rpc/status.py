"""The one table that turns errors into gRPC: status code, google.rpc details, and the error of a batch's item."""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from osqueue_service.errors import NotLeader, OsqueueError, UniqueConflict
from osqueue_stubs.osqueue.v1 import job_pb2

DOMAIN = "osqueue"
LEADER_KEY = "osqueue-leader"
"""Key of the trailing metadata that holds the leader's gRPC address, with NOT_LEADER."""
DETAILS_KEY = "grpc-status-details-bin"
MESSAGE_CHARS_MAX = 1_500
"""Longer messages are cut: they travel in metadata, of which clients accept 8 KiB by default."""

CODES = {
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "PAYLOAD_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "JOB_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "BATCH_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "WORKFLOW_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "LEASE_LOST": grpc.StatusCode.FAILED_PRECONDITION,
    "IDEMPOTENCY_CONFLICT": grpc.StatusCode.ALREADY_EXISTS,
    "UNIQUE_CONFLICT": grpc.StatusCode.ALREADY_EXISTS,
    "QUEUE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_REQUESTS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NOT_LEADER": grpc.StatusCode.UNAVAILABLE,
    "OUTCOME_UNKNOWN": grpc.StatusCode.UNAVAILABLE,
    "STORAGE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "PERMISSION_DENIED": grpc.StatusCode.PERMISSION_DENIED,
    "SCHEDULE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "QUEUE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "REVISION_CONFLICT": grpc.StatusCode.ABORTED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}
_REASONS = {reason: job_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}") for reason in CODES}

Trailing = tuple[tuple[str, str | bytes], ...]


def code_of(error: OsqueueError) -> grpc.StatusCode:
    return CODES[error.reason]


def message_of(error: OsqueueError) -> str:
    """The message as it travels."""
    message = error.message
    return message if len(message) <= MESSAGE_CHARS_MAX else message[: MESSAGE_CHARS_MAX - 1] + "…"


def trailing_metadata(error: OsqueueError) -> Trailing:
    """What travels beside code and message: the details, and with NOT_LEADER where the leader is."""
    metadata = {"job_id": error.job_id} if isinstance(error, UniqueConflict) else None
    details = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))]
    if error.violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in error.violations
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=fields)))
    if error.retry_after_ms is not None:
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after_ms))))
    status = status_pb2.Status(code=code_of(error).value[0], message=message_of(error), details=details)
    trailing: Trailing = ((DETAILS_KEY, status.SerializeToString()),)
    if isinstance(error, NotLeader) and _fits_metadata(error.leader_address):
        trailing += ((LEADER_KEY, error.leader_address),)
    return trailing


def item_error(error: OsqueueError) -> job_pb2.ItemError:
    """The error of one item of a batch whose other items may have been accepted."""
    return job_pb2.ItemError(
        reason=_REASONS[error.reason],
        message=error.message,
        violations=[
            job_pb2.FieldViolation(field=field, description=description) for field, description in error.violations
        ],
        retry_after_ms=error.retry_after_ms or 0,
        job_id=error.job_id if isinstance(error, UniqueConflict) else "",
    )


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _duration(ms: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=ms // 1_000, nanos=ms % 1_000 * 1_000_000)


def _fits_metadata(address: str) -> bool:
    """Metadata values are printable ASCII; the address comes from the root, which another broker wrote."""
    return bool(address) and address.isascii() and address.isprintable()

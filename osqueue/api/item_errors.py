"""The error of one item of a batch, as the SDK's exception and back."""

from osqueue.errors import OsqueueError, Violation, from_reason
from osqueue_stubs.osqueue.v1 import job_pb2

_PREFIX = "ERROR_REASON_"
_REASONS = {name.removeprefix(_PREFIX): number for name, number in job_pb2.ErrorReason.items()}


def from_item_error(item: job_pb2.ItemError, method: str = "") -> OsqueueError:
    """The exception for one refused item; `method` is the RPC that would have refused it alone."""
    known = item.reason in job_pb2.ErrorReason.values()
    return from_reason(
        job_pb2.ErrorReason.Name(item.reason).removeprefix(_PREFIX) if known else "",
        item.message,
        method=method,
        violations=[Violation(violation.field, violation.description) for violation in item.violations],
        retry_after_ms=item.retry_after_ms or None,
        job_id=item.job_id,
    )


def fill_item_error(error: OsqueueError, item: job_pb2.ItemError) -> None:
    """Write the exception into the message; a reason that the API does not have stays unspecified."""
    item.reason = _REASONS.get(error.reason, job_pb2.ERROR_REASON_UNSPECIFIED)
    item.message = error.message
    for field, description in error.violations:
        item.violations.add(field=field, description=description)
    item.retry_after_ms = error.retry_after_ms or 0
    item.job_id = error.job_id

"""The gateway's tagged JSON errors, and what is none, as the SDK's exceptions."""

from typing import Any

from osqueue.api.json_readers import snake_path
from osqueue.errors import (
    DEADLINE_EXCEEDED,
    BrokerLeadershipError,
    OsqueueError,
    TransportConnectionError,
    TransportRequestError,
    UniqueConflictError,
    Violation,
    from_tag,
)


def from_tagged(found: Any, *, method: str, path: str, status: int | str) -> OsqueueError:
    """The exception for an error object; for anything else, such as a load balancer's page, a `TransportRequestError`,
    which passes for an outage whatever the status."""
    if not isinstance(found, dict) or not isinstance(found.get("_tag"), str):
        error = TransportRequestError(f"{method} {path} was answered with {status}, and not by a gateway of osqueue")
        error.method, error.path, error.status = method, path, status
        return error
    retry_after_ms = found.get("retryAfterMs")
    tagged = from_tag(
        found["_tag"],
        str(found.get("message", "")),
        reason=str(found.get("reason", "")),
        method=method,
        path=path,
        status=status,
        violations=_violations(found.get("violations")),
        retry_after_ms=retry_after_ms if isinstance(retry_after_ms, int) else None,
    )
    if isinstance(tagged, BrokerLeadershipError):
        tagged.leader = str(found.get("leader", ""))
    elif isinstance(tagged, UniqueConflictError):
        tagged.job_id = str(found.get("jobId", ""))
    return tagged


def too_late(address: str, name: str, timeout_ms: int) -> TransportConnectionError:
    """No answer in time."""
    return TransportConnectionError(f"{address} did not answer {name} within {timeout_ms} ms", reason=DEADLINE_EXCEEDED)


def _violations(found: Any) -> list[Violation]:
    if not isinstance(found, list):
        return []
    return [
        Violation(snake_path(str(item.get("field", ""))), str(item.get("description", "")))
        for item in found
        if isinstance(item, dict)
    ]

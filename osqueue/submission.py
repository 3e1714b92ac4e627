"""From what a producer writes to the job that a transport sends.

Everything is checked here, one job at a time: what is wrong with one caller's job must not
surface in the batch that carries it together with others.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict, TypeVar, Unpack, overload

from osqueue.encoding import invalid, to_bytes
from osqueue.job import RetryPolicy
from osqueue.messages import JobSpec
from osqueue.registry import JobType

P = TypeVar("P")
R = TypeVar("R")


class SubmitOptions(TypedDict, total=False):
    """What a producer may ask for beside type and payload; absent means the broker's default."""

    max_attempts: int
    """How many attempts may fail, expire or time out before the job is dead: 1 to 1,000, default 3."""
    priority: int
    """Higher is claimed first, −1,000 to 1,000, default 0."""
    run_at: datetime | int
    """Not to be claimed before: a datetime, or milliseconds since the epoch."""
    delay_ms: int
    """Not to be claimed before this much time has passed."""
    lease_ms: int
    """Length of the job's leases, default 30,000."""
    timeout_ms: int
    """Limit of one attempt, heartbeats or not."""
    retry_policy: RetryPolicy
    """How the job backs off after a failure."""
    idempotency_key: str
    """A repeated submission with the same key and content within 24 hours yields the same job."""
    metadata: Mapping[str, str]
    """Labels, at most 8 KiB."""
    retention_ms: int
    """A promise: the finished job is readable at least this long."""


_INT32 = 2**31 - 1
_INT64 = 2**63 - 1

_INTEGERS = {
    "max_attempts": _INT32,
    "priority": _INT32,
    "delay_ms": _INT64,
    "lease_ms": _INT64,
    "timeout_ms": _INT64,
    "retention_ms": _INT64,
}


@overload
def new_job(job_type: JobType[P, R], payload: P, **options: Unpack[SubmitOptions]) -> JobSpec: ...
@overload
def new_job(job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> JobSpec: ...
def new_job(job_type: "JobType[Any, Any] | str", payload: object, **options: Unpack[SubmitOptions]) -> JobSpec:
    """A job for `submit_jobs`. `BrokerProtocolError` names what is wrong with it."""
    if isinstance(job_type, str):
        spec = JobSpec(to_bytes(payload, "payload"), text("type", job_type))
    else:
        spec = JobSpec(job_type.encode_payload(payload), text("type", job_type.name), job_type=job_type)
    if options:
        _apply(spec, options)
    return spec


def _apply(spec: JobSpec, options: SubmitOptions) -> None:
    for name, value in options.items():
        if value is None:
            continue
        if name in _INTEGERS:
            value = integer(name, value, _INTEGERS[name])
        elif name == "run_at":
            value = to_epoch_ms("run_at", value)
        elif name == "idempotency_key":
            value = text(name, value)
        elif name == "metadata":
            value = _labels(value)
        elif name == "retry_policy":
            if not isinstance(value, RetryPolicy):
                raise invalid(name, f"must be a RetryPolicy, got {type(value).__name__}")
            _check_policy(value)
        else:
            raise TypeError(f"{name!r} is no option of a job; there are: {', '.join(SubmitOptions.__annotations__)}")
        setattr(spec, name, value)


def text(field: str, value: object) -> str:
    """The value, if it is text that can travel."""
    if not isinstance(value, str):
        raise invalid(field, f"must be a string, got {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise invalid(field, f"is no valid Unicode: {error.reason}") from error
    return value


def integer(field: str, value: object, largest: int = _INT64) -> int:
    """The value, if it is an integer that fits its field on the wire; whether it makes sense is the broker's to say."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(field, f"must be an integer, got {type(value).__name__}")
    if not -largest <= value <= largest:
        raise invalid(field, f"{value} is out of range")
    return value


def to_epoch_ms(field: str, value: object) -> int:
    """Milliseconds since the epoch; a datetime must know its time zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise invalid(field, "the datetime has no time zone; use datetime.now(timezone.utc) or .astimezone()")
        return int(value.timestamp() * 1_000)
    return integer(field, value)


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise invalid("metadata", f"must be a mapping of strings, got {type(value).__name__}")
    return {text("metadata", key): text(f"metadata[{key!r}]", label) for key, label in value.items()}


def _check_policy(policy: RetryPolicy) -> None:
    integer("retry_policy.initial_ms", policy.initial_ms)
    integer("retry_policy.max_ms", policy.max_ms)
    for field in ("multiplier", "jitter"):
        number = getattr(policy, field)
        if not isinstance(number, (int, float)):
            raise invalid(f"retry_policy.{field}", f"must be a number, got {type(number).__name__}")

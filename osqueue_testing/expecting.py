"""Which jobs a test means, and what to say when they are not there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from osqueue import BrokerProtocolError, Job, JobType

ANYTHING: Any = object()
"""Matches every payload."""

SHOWN_JOBS = 10
SHOWN_CHARS = 200


def payload_of(job: Job, job_type: JobType[Any, Any]) -> Any:
    """The payload as its type has it; what does not validate, as JSON."""
    try:
        return job_type.decode_payload(job.payload)
    except BrokerProtocolError:
        return job.value()


def matches(job: Job, job_type: JobType[Any, Any], matching: Any) -> bool:
    """Whether the payload is meant: a mapping is met by payloads that have all of it, at every depth; a function by
    those that it returns true for; anything else by what is equal."""
    if matching is ANYTHING:
        return True
    if isinstance(matching, Mapping):
        return _contains(job.value(), matching)
    payload = payload_of(job, job_type)
    if callable(matching):
        predicate: Callable[[Any], object] = matching
        return bool(predicate(payload))
    return bool(payload == matching)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _contains(value[key], part) for key, part in wanted.items()
        )
    return bool(value == wanted)


def describe(name: str, matching: Any) -> str:
    """What was looked for."""
    what = f"a job of type {name!r}" if name else "a job"
    if matching is ANYTHING:
        return what
    if callable(matching) and not isinstance(matching, Mapping):
        return f"{what} that {getattr(matching, '__qualname__', matching)} accepts"
    return f"{what} with a payload matching {matching!r}"


def shown(jobs: Sequence[Job]) -> str:
    """The jobs, a line each, for a message."""
    if not jobs:
        return "Nothing was enqueued."
    lines = [f"  {job.type} {_short(repr(job.value()))} is {job.status}" for job in jobs[:SHOWN_JOBS]]
    if len(jobs) > SHOWN_JOBS:
        lines.append(f"  and {len(jobs) - SHOWN_JOBS} more")
    return "\n".join(["These were enqueued:", *lines])


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"

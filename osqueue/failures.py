"""How a handler's failure is told to the queue, and the exceptions that say more than "it failed"."""

import traceback

from osqueue.encoding import invalid
from osqueue.job import JobError
from osqueue.submission import integer, text

ERROR_TYPE_BYTES = 256
ERROR_MESSAGE_BYTES = 8 * 1024
"""The queue's own limits: more is cut here, because a failure must be reported in any case."""


class Retry(Exception):
    """Raise it in a handler: the attempt failed; try again, after delay_ms if given. `BrokerProtocolError` for a delay
    that is none."""

    def __init__(self, message: str = "", *, delay_ms: int | None = None) -> None:
        super().__init__(message)
        self.delay_ms = None if delay_ms is None else _duration("delay_ms", delay_ms)


class Reject(Exception):
    """Raise it in a handler: trying again cannot help; the job becomes a dead letter."""


class RateLimited(Exception):
    """Raise it in a handler: the other side said that it was too much, as by HTTP's status 429. The job goes
    back, which does not count as an attempt, and nothing of its key of the `limit` starts for `retry_after_ms`."""

    def __init__(self, message: str = "", *, limit: str, retry_after_ms: int) -> None:
        super().__init__(message or f"{limit} is exceeded for {retry_after_ms} ms")
        self.limit = text("limit", limit)
        self.retry_after_ms = _duration("retry_after_ms", retry_after_ms)


class Failed(Exception):
    """Raise it in a handler: the attempt failed as `error` says, for code that runs others' code and knows more of its
    failure than a class's name and a text."""

    def __init__(self, error: JobError) -> None:
        super().__init__(f"{error.type}: {error.message}")
        self.error = error


def describe(error: JobError | BaseException | str) -> JobError:
    """The error as the queue keeps it: an exception's class, its text and where it was raised."""
    if isinstance(error, str):
        error = JobError("", error)
    elif isinstance(error, Failed):
        error = error.error
    elif isinstance(error, BaseException):
        error = JobError(type(error).__name__, _message(error))
    return JobError(_cut(_text(error.type), ERROR_TYPE_BYTES), _cut(_text(error.message), ERROR_MESSAGE_BYTES))


def _message(error: BaseException) -> str:
    said = _text(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return said
    last = frames[-1]
    return f"{said}\n  at {last.filename}:{last.lineno} in {last.name}" if said else f"at {last.filename}:{last.lineno}"


def _text(value: object) -> str:
    try:
        return str(value)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001 - a defect of its own __str__, which is then what we report
        return f"<{type(broken).__name__} in its __str__>"


def _duration(field: str, ms: object) -> int:
    found = integer(field, ms)
    if found < 0:
        raise invalid(field, f"must be at least 0 ms, got {found}")
    return found


def _cut(text: str, limit: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode("utf-8", "ignore") + "…"

"""Every error osqueue raises on purpose, and nothing else.

Two families. `OsqueueError` is what a caller of the queue may hear: it carries the
`reason` that every transport shows, a message that names the way out, and where it
fits the fields at fault or when to try again. `StoreError` is what an object store
may answer to the log; it never reaches a caller as it is.

Each edge translates exactly once: a cloud SDK's errors become `StoreError`s inside
that store's module, and `OsqueueError`s become gRPC statuses inside `rpc/`.
"""

from copy import copy
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple, TypeVar

from osqueue_service.release import RELEASE


class Violation(NamedTuple):
    """One field of a request that is wrong, and what it must be instead."""

    field: str
    description: str


class OsqueueError(Exception):
    """Base of all errors that a caller of the queue may hear.

    `reason` is the stable, machine-readable name from the public contract.
    `retry_after_ms` is set where trying the same call again later can succeed.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.retry_after_ms = retry_after_ms


E = TypeVar("E", bound=Exception)


def kept(error: E) -> E:
    """The error as a value: without the frames it was raised in, which would keep everything alive that they saw."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def anew(error: E) -> E:
    """The same error once more, for one more caller: an error that is raised again and again keeps every frame that it
    ever went through."""
    return copy(error)


class InvalidRequest(OsqueueError):
    """The request can never succeed as it is; `violations` names each field at fault."""

    reason = "INVALID_REQUEST"

    @classmethod
    def field(cls, field: str, description: str) -> "InvalidRequest":
        """The common case: one field is wrong."""
        return cls(f"{field}: {description}", violations=(Violation(field, description),))


class FeatureUnavailable(InvalidRequest):
    """What the call asks for would be written in a form that a broker which could take over does not know. Nothing was
    changed; the message names that broker."""


class PayloadTooLarge(InvalidRequest):
    """A payload, result or message is larger than its limit."""

    reason = "PAYLOAD_TOO_LARGE"


class JobNotFound(OsqueueError):
    """No job has this id: it never existed, or it finished and its retention is over."""

    reason = "JOB_NOT_FOUND"


class ScheduleNotFound(OsqueueError):
    """No schedule has this id."""

    reason = "SCHEDULE_NOT_FOUND"


class QueueNotFound(OsqueueError):
    """No queue has this name."""

    reason = "QUEUE_NOT_FOUND"


class RevisionConflict(OsqueueError):
    """The schedule is not what the caller took it for: somebody else changed it, made it or removed it."""

    reason = "REVISION_CONFLICT"


class WorkflowNotFound(OsqueueError):
    """No workflow has this id: it never existed, or it ended and none of its jobs is kept."""

    reason = "WORKFLOW_NOT_FOUND"


class BatchNotFound(OsqueueError):
    """No batch has this id: it never existed, or it ended and is no longer kept."""

    reason = "BATCH_NOT_FOUND"


class LeaseLost(OsqueueError):
    """The caller does not hold the current lease of the job. Nothing was changed."""

    reason = "LEASE_LOST"


class IdempotencyConflict(OsqueueError):
    """The idempotency key is in use for a job with other content."""

    reason = "IDEMPOTENCY_CONFLICT"


class UniqueConflict(OsqueueError):
    """Another job, `job_id`, holds the unique key. Nothing was changed."""

    reason = "UNIQUE_CONFLICT"

    def __init__(self, message: str, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class QueueFull(OsqueueError):
    """A named limit of the queue is reached; the message says which one."""

    reason = "QUEUE_FULL"


class TooManyRequests(OsqueueError):
    """The broker's inbox, streams or waiting callers are at their limit."""

    reason = "TOO_MANY_REQUESTS"


class NotLeader(OsqueueError):
    """This broker is not the leader. The call was certainly not applied."""

    reason = "NOT_LEADER"

    def __init__(self, message: str, *, leader_address: str = "", retry_after_ms: int | None = 1_000) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.leader_address = leader_address


class OutcomeUnknown(OsqueueError):
    """The change may or may not have been made durable. Retrying with the same key is safe."""

    reason = "OUTCOME_UNKNOWN"


class StorageUnavailable(OsqueueError):
    """Object storage does not answer; the call was certainly not applied."""

    reason = "STORAGE_UNAVAILABLE"


class Unauthenticated(OsqueueError):
    """The call carries no token, or a wrong one."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(OsqueueError):
    """The caller may not do this from where it is."""

    reason = "PERMISSION_DENIED"


class InternalError(OsqueueError):
    """A bug, or a state that must not occur. Logged with the id that the message names."""

    reason = "INTERNAL"


class ConfigError(Exception):
    """A setting is missing or wrong. The message names the setting and what to do."""


class BrokerLeadershipError(Exception):
    """Another broker is active on this storage and this one was not asked to stand by."""

    def __init__(self, message: str, *, leader: str = "") -> None:
        super().__init__(message)
        self.leader = leader


class StoreError(Exception):
    """Base of what an object store may answer instead of success."""


class StoreRefused(StoreError):
    """The condition of a put did not hold: as far as THIS request goes, nothing was written.

    A refusal alone says nothing about an earlier try of the same put, which may
    have been the one that landed: settle by reading the object.
    """


class StoreUnknown(StoreError):
    """The request may have been applied, or may still be: timeout, reset, 5xx."""


class StoreUnavailable(StoreError):
    """The request was certainly not applied, and may succeed later (throttled, refused connection)."""

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class StoreDenied(StoreError):
    """The store refuses this broker altogether: credentials, permissions, missing bucket."""


class StoreFailed(StoreError):
    """The store can no longer be trusted (an fsync failed, the disk is full): stop the broker."""


class Deposed(Exception):
    """Another broker leads, with a higher epoch: this one's term or candidacy is over, and is never resumed.

    `leader` is where the other one may be reached, as far as it is known.
    """

    def __init__(self, message: str, *, epoch: int, leader: str = "") -> None:
        super().__init__(message)
        self.epoch = epoch
        self.leader = leader


class Fenced(Deposed):
    """The proof of it lies in this broker's own lane: a fence of the higher epoch."""


class CorruptObject(Exception):
    """An object that the root vouches for is missing or is not what it must be.

    `key` names the object; the message says what is wrong and the way out.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class WrittenByNewer(Exception):
    """What is stored holds something that this release does not know. Nothing is damaged.

    `key` names the object, `what` the format or the feature, `release` the release that wrote it, where that is known.
    """

    def __init__(self, key: str, what: str, *, release: str = "") -> None:
        later = f"osqueue {release}" if release else "a later release of osqueue"
        super().__init__(
            f"{key}: it was written by {later} and {what}, which osqueue {RELEASE} does not know: start "
            f"{later if release else 'that release'} again; nothing is damaged, and nothing was changed"
        )
        self.key = key
        self.what = what
        self.release = release

    def by(self, release: str) -> "WrittenByNewer":
        """The same, naming the release where it did not."""
        return self if self.release else WrittenByNewer(self.key, self.what, release=release)


class ClockAhead(Exception):
    """The clock of this machine is so far ahead of the store's that a queue led by it would be spoilt.

    `wall_ms` is what this machine says, `ahead_ms` how far that is ahead.
    """

    def __init__(self, wall_ms: int, ahead_ms: int, where: str) -> None:
        super().__init__(
            f"the clock of this machine says {_utc(wall_ms)}, that of {where} {_utc(wall_ms - ahead_ms)}: it is "
            f"{_length(ahead_ms)} ahead, and what a leader stamped by it would lapse at once, for good. Set it (NTP: "
            "`timedatectl`, `chronyc tracking`); nothing was changed"
        )
        self.wall_ms = wall_ms
        self.ahead_ms = ahead_ms


def _utc(wall_ms: int) -> str:
    try:
        return datetime.fromtimestamp(wall_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{wall_ms} ms since 1970"


def _length(span_ms: int) -> str:
    """The length of time in its two largest units."""
    seconds = span_ms // 1_000
    for size, unit, smaller, smaller_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller} {smaller_unit}"
    return f"{seconds} s"

"""Exit codes of the command line: one meaning each, stable, listed in docs/cli.md.

A script can tell what to do next from the code alone: fix the call (2), look elsewhere (3),
try later (5, 6), ask again with the same key (10).
"""

from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILED = 1
    """The command did its work and the answer is bad: a job is dead, a check found problems."""
    USAGE = 2
    """The call is wrong: an argument, an option, a payload; trying again cannot help."""
    NOT_FOUND = 3
    """There is no such job, or it is no longer kept."""
    CONFLICT = 4
    """The state forbids it: lease lost, key used with other content, a second broker on one directory."""
    FULL = 5
    """The queue or the broker is at a limit; try later."""
    UNREACHABLE = 6
    """No broker, no leader or no storage answers; nothing was changed; try later."""
    DENIED = 7
    """The token is missing or wrong, or the caller may not do this from where it is."""
    CONFIG = 8
    """A setting is missing or wrong, or a directory cannot be used; the message names it."""
    TIMEOUT = 9
    """The time given is over; what was waited for goes on."""
    UNKNOWN = 10
    """The change may or may not be durable; repeating it with the same key is safe."""
    INTERNAL = 70
    """A defect, here or in the broker."""
    INTERRUPTED = 130
    """Ctrl-C."""


_OF_TAG = {
    "BrokerProtocolError": Exit.USAGE,
    "JobNotFoundError": Exit.NOT_FOUND,
    "ScheduleNotFoundError": Exit.NOT_FOUND,
    "QueueNotFoundError": Exit.NOT_FOUND,
    "RevisionConflictError": Exit.CONFLICT,
    "LeaseLostError": Exit.CONFLICT,
    "IdempotencyConflictError": Exit.CONFLICT,
    "UniqueConflictError": Exit.CONFLICT,
    "CASConflictError": Exit.CONFLICT,
    "QueueFullError": Exit.FULL,
    "BrokerLeadershipError": Exit.UNREACHABLE,
    "DiscoveryError": Exit.UNREACHABLE,
    "StorageBackendError": Exit.UNREACHABLE,
    "TransportConnectionError": Exit.UNREACHABLE,
    "TransportRequestError": Exit.UNREACHABLE,
    "AuthError": Exit.DENIED,
    "ConfigError": Exit.CONFIG,
    "CodecError": Exit.CONFIG,
    "TransportConfigError": Exit.CONFIG,
    "JobNotFinishedError": Exit.TIMEOUT,
    "WorkerExecutionError": Exit.FAILED,
}


def exit_of(tag: str, reason: str) -> Exit:
    """The exit code for an error of the public contract."""
    if reason == "OUTCOME_UNKNOWN":
        return Exit.UNKNOWN
    return _OF_TAG.get(tag, Exit.INTERNAL)

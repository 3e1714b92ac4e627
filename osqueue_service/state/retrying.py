"""Where a job goes when an attempt ends without success."""

from osqueue_service.limits import Limits
from osqueue_service.state.model import Job, RetryPolicy, Status
from osqueue_service.state.state import State

_AT_ONCE = RetryPolicy()

CUT_MESSAGE_CHARS = 200
"""Of an error's message, while the histories of live jobs take all the room that they may."""


def attempts_kept(state: State, limits: Limits) -> int:
    """How many attempts of a job are kept, now that one ends: only the last while histories take too much room."""
    return limits.history_attempts if state.history_bytes < limits.history_bytes else min(1, limits.history_attempts)


def message_kept(state: State, limits: Limits, message: str, status: Status) -> str:
    """What is kept of an error's message, given what the job becomes. Dead letters have a limit of their own."""
    if state.history_bytes < limits.history_bytes or status is Status.DEAD or len(message) <= CUT_MESSAGE_CHARS:
        return message
    return message[:CUT_MESSAGE_CHARS] + "…"


def next_step(
    job: Job, now_ms: int, limits: Limits, jitter: float, retryable: bool = True, delay_ms: int = -1
) -> tuple[Status, int]:
    """The status the job takes and, if that is SCHEDULED, until when.

    A job that was to be cancelled is cancelled now. One that must not be retried, or has used up its
    attempts, is dead. `delay_ms` >= 0 wins over the job's retry policy.
    """
    if job.cancel_requested:
        return Status.CANCELLED, 0
    if not retryable or job.attempts >= (job.spec.max_attempts or limits.default_max_attempts):
        return Status.DEAD, 0
    if delay_ms < 0:
        delay_ms = backoff_ms(job.spec.retry or _AT_ONCE, job.attempts, jitter)
    return (Status.SCHEDULED, now_ms + delay_ms) if delay_ms else (Status.UNCLAIMED, 0)


def backoff_ms(policy: RetryPolicy, attempts: int, jitter: float) -> int:
    """The wait before the next attempt after `attempts` of them; `jitter` in [0, 1) places it in the spread."""
    if policy.initial_ms <= 0:
        return 0
    try:
        delay = min(policy.initial_ms * policy.multiplier ** (attempts - 1), policy.max_ms)
    except OverflowError:  # a float ends at about 2 ** 1024, and max_ms is far below that
        delay = policy.max_ms
    return max(0, min(round(delay * (1 + policy.jitter * (2 * jitter - 1))), policy.max_ms))

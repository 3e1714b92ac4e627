"""Trying a call again when that can help, and is safe because its request id, token or key makes it happen once.

Two kinds of errors may pass. In an **outage** (the broker cannot be reached, another one
takes over, the outcome of a commit is unknown, what answers is a proxy or a load balancer
and not a broker) a call is repeated until `retry_deadline_ms` is over, so that a failover is
a delay and not an error. The first failure is logged at once, with its cause. A **busy** broker or a full queue is
asked again at most `max_retries` times. Everything else is raised at once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from osqueue.errors import (
    OUTCOME_UNKNOWN,
    WRONG_PROTOCOL,
    BrokerLeadershipError,
    ConfigError,
    DiscoveryError,
    EngineStateError,
    OsqueueError,
    QueueFullError,
    StorageBackendError,
    TransportConnectionError,
    TransportRequestError,
)

log = logging.getLogger("osqueue.client")

T = TypeVar("T")

FIRST_PAUSE_MS = 25
"""The first pause in an outage; each further one is twice as long, up to `retry_delay_ms`."""


@dataclass(slots=True, frozen=True)
class RetryOptions:
    """How patient a client is.

    `timeout_ms`: how long one attempt of a call may take. `max_retries`: how often a busy broker is asked again; 0
    turns all retries off. `retry_delay_ms`: the longest pause between two attempts. `retry_deadline_ms`: how long a
    call is repeated in an outage, longer than a failover takes.
    """

    timeout_ms: int = 5_000
    max_retries: int = 3
    retry_delay_ms: int = 1_000
    retry_deadline_ms: int = 60_000

    def __post_init__(self) -> None:
        for name, lowest in (("timeout_ms", 1), ("max_retries", 0), ("retry_delay_ms", 0), ("retry_deadline_ms", 0)):
            if getattr(self, name) < lowest:
                raise ConfigError(f"{name} must be at least {lowest}, got {getattr(self, name)}")


def is_outage(error: OsqueueError) -> bool:
    """The broker is away or changing, or somebody else answers in its place; it, or its successor, will be back."""
    if isinstance(error, EngineStateError):
        return error.reason == OUTCOME_UNKNOWN
    if isinstance(error, TransportRequestError):
        return error.reason != WRONG_PROTOCOL and not error.remote_tag
    return isinstance(error, (TransportConnectionError, BrokerLeadershipError, StorageBackendError, DiscoveryError))


class Retrying:
    """Runs calls under one set of options, and counts what it had to repeat."""

    def __init__(self, options: RetryOptions) -> None:
        self.options = options
        self.retries = 0
        self.last_error: OsqueueError | None = None
        self._away = False

    async def run(
        self, attempt: Callable[[], Awaitable[T]], deadline_ms: float | None = None, *, changes: bool = False
    ) -> T:
        """The answer of the first attempt that has one; the last error when patience ends, after `deadline_ms` instead
        of the options' retry_deadline_ms if given.

        `changes`: the call may change something. When its connection broke and what came later is refused, nobody
        knows whether it did: OUTCOME_UNKNOWN.
        """
        started = time.monotonic()
        tries = 0
        unknown: OsqueueError | None = None
        while True:
            try:
                answer = await attempt()
            except OsqueueError as error:
                elapsed_ms = (time.monotonic() - started) * 1_000
                pause_ms = self.pause_ms(error, tries, elapsed_ms, deadline_ms)
                if error.reason == OUTCOME_UNKNOWN or (changes and _may_have_arrived(error)):
                    unknown = error
                if pause_ms is None:
                    if unknown is not None and unknown is not error and is_outage(error):
                        raise _still_unknown(unknown, error) from error
                    raise
                self.last_error = error
                self._tell(error)
            else:
                self._away = False
                return answer
            self.retries += 1
            tries += 1
            await asyncio.sleep(pause_ms / 1_000)

    def _tell(self, error: OsqueueError) -> None:
        """Once per outage; that a leader is followed to its next address, at once, is none."""
        if self._away or error.retry_after_ms == 0 or not is_outage(error):
            return
        self._away = True
        log.warning("%s; trying on for %.0f s", error, self.options.retry_deadline_ms / 1_000)

    async def pause(self, tries: int) -> None:
        """Wait before the next attempt after `tries` in a row that came to nothing."""
        await asyncio.sleep(_backoff_ms(tries, self.options) / 1_000)

    def pause_ms(
        self, error: OsqueueError, tries: int, elapsed_ms: float, deadline_ms: float | None = None
    ) -> float | None:
        """How long to wait before the next attempt after `tries` repeated ones; None: raise the error."""
        options = self.options
        if deadline_ms is None:
            deadline_ms = options.retry_deadline_ms
        if options.max_retries == 0:
            return None
        outage = is_outage(error)
        if not outage and not isinstance(error, QueueFullError):
            return None
        if error.retry_after_ms == 0 and outage:  # the transport knows a better address already
            return 0.0 if elapsed_ms < deadline_ms else None
        longest: float = _backoff_ms(tries, options)
        if not outage and error.retry_after_ms:
            longest = max(longest, min(error.retry_after_ms, options.retry_delay_ms))
        pause = longest * random.uniform(0.5, 1.0)
        if tries < options.max_retries:
            return pause
        if outage and elapsed_ms + pause < deadline_ms:
            return pause
        return None


def _backoff_ms(tries: int, options: RetryOptions) -> float:
    return float(min(FIRST_PAUSE_MS << min(tries, 16), options.retry_delay_ms))


def _may_have_arrived(error: OsqueueError) -> bool:
    """The request may have reached a broker that could not answer any more."""
    if not isinstance(error, TransportConnectionError):
        return False
    return "connect to" not in error.message and "not known to DNS" not in error.message


def _still_unknown(unknown: OsqueueError, last: OsqueueError) -> EngineStateError:
    """An earlier attempt may have happened, whatever the last one says of itself."""
    return EngineStateError(
        f"{unknown}. It was repeated until patience ended, last with: {last}. Whether it happened is unknown; the same "
        "call with the same key may be repeated",
        reason=OUTCOME_UNKNOWN,
    )

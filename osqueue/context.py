"""What a handler may know and say about the attempt it runs."""

import logging
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar, Unpack, overload

from osqueue.encoding import invalid
from osqueue.job import ClaimedJob, JobInput, JobSpec, Progress, SubmitOptions
from osqueue.registry import JobType
from osqueue.submission import integer, new_job, text

P = TypeVar("P")

FOLLOW_UPS_MAX = 100
"""As many as the broker takes with one completion."""

logger = logging.getLogger("osqueue.job")


class JobContext:
    """One attempt, from the inside. Every member may be used from any thread."""

    __slots__ = (
        "_event",
        "_logger",
        "_report",
        "_started",
        "cancel_requested",
        "follow_ups",
        "job",
        "lease_lost",
        "usage",
    )

    def __init__(self, job: ClaimedJob, report: Callable[[Progress], None]) -> None:
        self.job = job
        self.cancel_requested = False
        """Somebody cancelled the job: stop soon. A handler in the event loop is cancelled besides."""
        self.lease_lost = False
        """The broker gave the job to somebody else, or the attempt's time is over: nothing that follows will count."""
        self.follow_ups: list[JobSpec] = []
        """What `follow_up` has collected."""
        self.usage: dict[str, int] = {}
        """What `report_usage` has said."""
        self._report = report
        self._started = time.monotonic()
        self._event: threading.Event | None = None
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def attempt(self) -> int:
        """The number of this attempt: 1, 2, 3 …"""
        return self.job.attempt

    @property
    def is_last_attempt(self) -> bool:
        """As far as this worker can know: a released attempt has a number but does not count against the limit."""
        return 0 < self.job.max_attempts <= self.job.attempt

    @property
    def inputs(self) -> "list[JobInput]":
        """How the jobs of the workflow ended that this one needed, with their results: `inputs[0].value(TYPE)`."""
        return self.job.inputs

    @property
    def scheduled_for(self) -> int:
        """The time of its schedule that the job was made for, in ms since 1970, however late it runs; 0: no schedule
        made it."""
        return self.job.scheduled_for

    @property
    def remaining_ms(self) -> int | None:
        """How long the attempt may still take; None: as long as it likes."""
        if not self.job.timeout_ms:
            return None
        return max(0, self.job.timeout_ms - round((time.monotonic() - self._started) * 1_000))

    @property
    def stopped(self) -> threading.Event:
        """Set when the handler should stop, for whatever reason: `context.stopped.wait(1)` sleeps and wakes early."""
        if self._event is None:
            self._event = threading.Event()
            if self.cancel_requested or self.lease_lost:
                self._event.set()
        return self._event

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose records carry job_id, job_type and attempt."""
        if self._logger is None:
            self._logger = _JobLogger(
                logger, {"job_id": self.job.job_id, "job_type": self.job.type, "attempt": self.job.attempt}
            )
        return self._logger

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the job has come, from 0 to 1; it travels with a renewal of the lease, within a second."""
        if not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise invalid("progress", f"must be a number from 0 to 1, got {fraction!r}")
        self._report(Progress(float(fraction), text("message", message)))

    @overload
    def follow_up(self, job_type: JobType[P, Any], payload: P, **options: Unpack[SubmitOptions]) -> None: ...
    @overload
    def follow_up(self, job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> None: ...
    def follow_up(self, job_type: Any, payload: Any, **options: Unpack[SubmitOptions]) -> None:
        """Submit a job when this one is completed, in the very same commit: either both are durable or neither is.

        Nothing is submitted when the handler fails, its lease is lost, or the job was cancelled meanwhile. At most
        100 for one job. `BrokerProtocolError` says what is wrong with it, here where it can be mended.
        """
        if len(self.follow_ups) >= FOLLOW_UPS_MAX:
            raise invalid("follow_ups", f"has {FOLLOW_UPS_MAX} jobs, which is the limit; let one of them submit more")
        self.follow_ups.append(new_job(job_type, payload, **options))

    def report_usage(self, limit: str, used: int) -> None:
        """Say how much of a limit's rate the attempt really used, instead of the job's cost, such as the tokens that a
        model counted. It travels with the attempt's end; the last one said counts. Not from a process of its own."""
        self.usage[text("limit", limit)] = integer("used", used)

    def begin(self) -> None:
        """For the worker: the handler starts now, and with it the attempt's time."""
        self._started = time.monotonic()

    def stop(self, *, lost: bool) -> None:
        """For runners: tell the handler to stop."""
        if lost:
            self.lease_lost = True
        else:
            self.cancel_requested = True
        if self._event is not None:
            self._event.set()


class _JobLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return f"[{self.extra['job_type']} {self.extra['job_id']}] {msg}" if self.extra else msg, kwargs

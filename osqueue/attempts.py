"""One attempt of one job, from the claim to the moment its outcome is durable."""

import asyncio
import enum
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from osqueue.apart import Apart
from osqueue.context import JobContext
from osqueue.current import enter_job
from osqueue.dispatch import Dispatcher
from osqueue.errors import (
    BrokerProtocolError,
    CodecError,
    JobNotFoundError,
    LeaseLostError,
    OsqueueError,
    QueueFullError,
    WorkerExecutionError,
)
from osqueue.failures import RateLimited, Reject, Retry, describe
from osqueue.handlers import BoundHandler
from osqueue.hooks import Hooks
from osqueue.job import ClaimedJob, JobError
from osqueue.leases import LeaseKeeper
from osqueue.messages import Completed
from osqueue.middleware import Around
from osqueue.runners.base import ProcessFailure, Runner
from osqueue.transports.protocol import Transport

log = logging.getLogger("osqueue.worker")


class Stop(enum.Enum):
    """Why a handler is to stop before its time."""

    LOST = "its lease was lost"
    CANCELLED = "the job was cancelled"
    TIMED_OUT = "its time was over"
    DRAINED = "the worker is shutting down"


class Tally:
    """What became of a worker's attempts."""

    __slots__ = ("claimed", "completed", "failed", "lost", "released", "unsettled")

    def __init__(self) -> None:
        self.claimed = self.completed = self.failed = self.lost = self.released = self.unsettled = 0


REFUSED_MS = 5_000
"""How long a payload that this worker does not understand waits for another; twice as long after each attempt."""

REFUSED_MS_MAX = 600_000


class Surroundings(Protocol):
    """What all attempts of a worker share."""

    dispatcher: Dispatcher
    keeper: LeaseKeeper
    hooks: Hooks
    tally: Tally
    apart: Apart
    around: Around
    invalid_payload: Literal["retry", "reject"]


class Attempt:
    """A claimed job in the hands of its handler. `on_slot_free` is called once, when the handler has ended."""

    __slots__ = (
        "_alarm",
        "_ended",
        "_kept",
        "_on_given_back",
        "_on_slot_free",
        "_runner",
        "_shared",
        "_suspect",
        "_turn",
        "context",
        "handler",
        "handling",
        "job",
        "stop_reason",
        "task",
    )

    def __init__(
        self,
        job: ClaimedJob,
        handler: BoundHandler,
        runner: Runner,
        shared: Surroundings,
        on_slot_free: Callable[[], None],
        on_given_back: Callable[[], None],
    ) -> None:
        self.job = job
        self.handler = handler
        self.context = JobContext(job, self._report)
        self.stop_reason: Stop | None = None
        self.handling = False
        self.task: asyncio.Task[None] | None = None
        self._runner = runner
        self._shared = shared
        self._on_slot_free = on_slot_free
        self._on_given_back = on_given_back
        self._ended = False
        self._suspect = False
        self._turn = threading.Lock()
        """Taken by who has the job in hand for good: the handler, or the thread that gives it back."""
        self._kept = shared.keeper.keep(self)
        self._alarm: asyncio.TimerHandle | None = None

    # --- from outside ------------------------------------------------------------------------------------------------

    def lease_lost(self) -> None:
        """The broker says so: whatever the handler still does will not count."""
        self._stop(Stop.LOST)

    def cancel_requested(self) -> None:
        """Somebody cancelled the job. A handler in the loop is cancelled; others are told."""
        self._stop(Stop.CANCELLED)

    @property
    def in_process(self) -> bool:
        """Its handler runs in a process of its own."""
        return self.handler.runs_in == "process"

    def withdraw(self) -> bool:
        """Take it from the handler if that has not begun, in order to give it back. From any thread."""
        return self._turn.acquire(blocking=False)

    async def leased(self, transport: Transport) -> Sequence[ClaimedJob]:
        """What there is to give back."""
        return (self.job,)

    def given_back(self) -> None:
        """It was released from outside, before it began."""
        self._ended = True
        self._shared.keeper.forget(self._kept)
        self._shared.tally.released += 1
        if self.task is None:  # otherwise the task ends by itself
            self._on_given_back()
        log.info("job %s (%s) is given back: the event loop is blocked", self.job.job_id, self.job.type)

    def drain(self) -> None:
        """The worker's patience is over: end the handler if that can be done, and give the job back in any case."""
        self._stop(Stop.DRAINED)

    def _stop(self, reason: Stop) -> None:
        if self._ended or self.stop_reason in (Stop.LOST, Stop.DRAINED):
            return
        self.stop_reason = reason
        self.context.stop(lost=reason is not Stop.CANCELLED)
        if not self.handling:  # it has not begun: `run` sees the reason
            self._shared.apart.wake()
            return
        if reason is Stop.CANCELLED and self.handler.runs_in == "process":
            self._runner.ask_to_stop(self.context)
        elif (self._runner.interruptible or reason is Stop.DRAINED) and self.task is not None:
            self.task.cancel()

    # --- the attempt -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the handler and make its outcome durable. Raises nothing: whatever goes wrong becomes the job's."""
        try:
            await self._begin()
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if asyncio.current_task() is not self.task:  # the loop has ended, and closes what is left of this coroutine
                raise
            await self._broke(error)
        finally:
            self._shared.keeper.forget(self._kept)

    async def _begin(self) -> None:
        if not self._shared.apart.is_open():
            self._suspect = await self._shared.apart.enter(self.job.job_id, self._is_stopped)
        if not self._turn.acquire(blocking=False):  # it is given back
            self._free_slot()
            return
        if self.stop_reason is not None:
            self._free_slot()
            await self._settle_failure(asyncio.CancelledError())
            return
        try:
            payload = self.handler.job_type.decode_payload(self.job.payload)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a validator is the application's code
            self._free_slot()
            await self._refuse(_wrong(error, "InvalidPayload"))
            return
        await self._run(payload)

    async def _broke(self, error: BaseException) -> None:
        """Something around the handler has a defect. The job must not wait for its lease, nor the slot for ever."""
        log.error("job %s (%s), attempt %d: what runs around its handler has a defect", self.job.job_id, self.job.type,
                  self.job.attempt, exc_info=error)  # fmt: skip
        if not self._ended:
            self._free_slot()
        try:
            await self._fail(describe(error))
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as again:  # noqa: BLE001 - it is told, and that is all that can be done
            self._unsettled("not done", again)

    async def _refuse(self, error: JobError) -> None:
        """The payload does not validate, or could not be decoded: what the worker's `invalid_payload` says."""
        if self._shared.invalid_payload == "reject":
            await self._fail(error, retryable=False)
            return
        doublings = min(max(self.job.attempt, 1) - 1, 16)
        await self._fail(error, retry_delay_ms=min(REFUSED_MS << doublings, REFUSED_MS_MAX))

    def _free_slot(self) -> None:
        """From here on the attempt cannot be stopped, only settled."""
        self._ended = True
        self.handling = False
        self._shared.keeper.ended(self._kept)
        self._shared.apart.leave(self.job.job_id, self._suspect)
        self._on_slot_free()

    def _is_stopped(self) -> bool:
        return self.stop_reason is not None or self._ended

    def _call(self, payload: Any) -> Awaitable[Any]:
        return self._runner.run(self.handler, payload, self.context)

    async def _run(self, payload: Any) -> None:
        self.context.begin()
        enter_job(self.context)
        if self.job.timeout_ms:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self.job.timeout_ms / 1_000, self._stop, Stop.TIMED_OUT)
        self.handling = True
        self._shared.keeper.begun(self._kept)
        value: Any = None
        failure: BaseException | None = None
        try:
            if self._shared.around:
                value = await self._shared.around.run(self.context, lambda: self._call(payload))
            else:
                value = await self._runner.run(self.handler, payload, self.context)
        except asyncio.CancelledError as error:
            failure = error
            if self.task is not None and self.task.cancelling():
                self.task.uncancel()  # it has done its work; settling must not be cancelled
                self.stop_reason = self.stop_reason or Stop.DRAINED
        except KeyboardInterrupt:  # somebody pressed Ctrl-C: that is about the program, not about the job
            raise
        except BaseException as error:
            if asyncio.current_task() is not self.task:  # the loop has ended, and closes what is left of this coroutine
                raise
            failure = error
        finally:
            self._free_slot()
            if self._alarm is not None:
                self._alarm.cancel()
        if failure is not None:
            await self._settle_failure(failure)
            return
        try:
            result = self.handler.job_type.encode_result(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a serializer is the application's code
            await self._fail(_wrong(error, "InvalidResult"), retryable=False)
            return
        await self._complete(result)

    async def _settle_failure(self, failure: BaseException) -> None:
        reason = self.stop_reason
        if reason is Stop.LOST:
            await self._lost(f"its handler was stopped: {Stop.LOST.value}")
        elif reason is Stop.DRAINED:
            await self._release(Stop.DRAINED.value)
        elif isinstance(failure, RateLimited):
            await self._release(str(failure), {failure.limit: failure.retry_after_ms})
        elif reason is Stop.TIMED_OUT and isinstance(failure, asyncio.CancelledError):
            await self._fail(JobError("TimedOut", f"the attempt took longer than {self.job.timeout_ms} ms"))
        elif reason is Stop.CANCELLED and isinstance(failure, asyncio.CancelledError):
            await self._fail(JobError("Cancelled", "the handler was cancelled on request"))
        else:
            await self._fail(*self._verdict(failure))

    def _verdict(self, failure: BaseException) -> tuple[JobError, bool, int | None]:
        """(error, retryable, delay) of what a handler raised."""
        if isinstance(failure, Retry):
            return describe(failure), True, failure.delay_ms
        error = describe(failure)
        if isinstance(failure, WorkerExecutionError) and failure.error_type:
            error = describe(JobError(failure.error_type, failure.message))
        fatal = self.handler.fatal
        if isinstance(failure, ProcessFailure):
            names = {f"{kind.__module__}.{kind.__qualname__}" for kind in fatal}
            return error, names.isdisjoint(failure.classes), None
        return error, not isinstance(failure, (Reject, *fatal)), None

    # --- the outcome -------------------------------------------------------------------------------------------------

    async def _complete(self, result: bytes | None) -> None:
        try:
            done = await self._shared.dispatcher.complete(self.job, result, self.context.follow_ups, self.context.usage)
        except (LeaseLostError, JobNotFoundError) as error:
            await self._lost(f"it was done, but too late: {error}")
        except (BrokerProtocolError, CodecError) as error:
            await self._fail(JobError("InvalidResult", error.message), retryable=False)
        except QueueFullError as error:
            await self._fail(JobError("QueueFull", error.message))
        except (OsqueueError, asyncio.CancelledError) as error:
            self._unsettled("completed", error)
        else:
            self._shared.tally.completed += 1
            self._tell_of_follow_ups(done)
            if self._shared.hooks.on_completed is not None:
                await self._shared.hooks.completed(self.job, result)

    def _tell_of_follow_ups(self, done: Completed) -> None:
        """The handler has returned, and cannot hear of it any more."""
        if done.follow_ups_withheld:
            log.warning("job %s (%s) is completed, but was to be cancelled: its %d follow-ups were not submitted",
                        self.job.job_id, self.job.type, len(self.context.follow_ups))  # fmt: skip
        for spec, followed in zip(self.context.follow_ups, done.follow_ups, strict=False):
            if followed.error is not None:
                log.error("job %s (%s) is completed, but its follow-up of the type %r was not submitted: %s",
                          self.job.job_id, self.job.type, spec.type, followed.error)  # fmt: skip

    async def _fail(self, error: JobError, retryable: bool = True, retry_delay_ms: int | None = None) -> None:
        try:
            settled = await self._shared.dispatcher.fail(
                self.job, error, retryable=retryable, retry_delay_ms=retry_delay_ms, usage=self.context.usage
            )
        except (LeaseLostError, JobNotFoundError) as refused:
            await self._lost(f"it failed ({error.type}), but too late: {refused}")
        except BrokerProtocolError as refused:
            if retry_delay_ms is None and not self.context.usage:
                self._unsettled(f"failed ({error.type}: {error.message})", refused)
                return
            log.error("job %s (%s): what was said beside its failure is left out: %s", self.job.job_id, self.job.type,
                      refused)  # fmt: skip
            self.context.usage = {}
            await self._fail(error, retryable)
        except (OsqueueError, asyncio.CancelledError) as refused:
            self._unsettled(f"failed ({error.type}: {error.message})", refused)
        else:
            self._shared.tally.failed += 1
            log.warning("job %s (%s) failed in attempt %d and is %s: %s: %s", self.job.job_id, self.job.type,
                        self.job.attempt, settled.status, error.type, error.message)  # fmt: skip
            if self._shared.hooks.on_failed is not None:
                await self._shared.hooks.failed(self.job, error, settled)

    async def _release(self, why: str, limit_backoff: Mapping[str, int] | None = None) -> None:
        try:
            await self._shared.dispatcher.release(self.job, limit_backoff)
        except (LeaseLostError, JobNotFoundError) as refused:
            await self._lost(f"it could not be given back: {refused}")
        except BrokerProtocolError as refused:
            if limit_backoff is None:
                self._unsettled("not done", refused)
                return
            await self._fail(JobError(RateLimited.__name__, f"{why}, which cannot be heeded: {refused.message}"))
        except (OsqueueError, asyncio.CancelledError) as refused:
            self._unsettled("not done", refused)
        else:
            self._shared.tally.released += 1
            log.info("job %s (%s) is given back: %s", self.job.job_id, self.job.type, why)

    async def _lost(self, how: str) -> None:
        self._shared.tally.lost += 1
        log.warning("job %s (%s), attempt %d: %s", self.job.job_id, self.job.type, self.job.attempt, how)
        if self._shared.hooks.on_lost is not None:
            await self._shared.hooks.lost(self.job)

    def _unsettled(self, what: str, error: BaseException) -> None:
        """Nothing more can be done, or the worker ends: the lease will expire, and the attempt count as such."""
        self._shared.tally.unsettled += 1
        log.error("job %s (%s) is %s, but the broker could not be told; it will run again when its lease expires: %s",
                  self.job.job_id, self.job.type, what, str(error) or "the worker has ended")  # fmt: skip

    def _report(self, progress: Any) -> None:
        self._kept.report(progress)


def _wrong(error: BaseException, invalid: str) -> JobError:
    """What is wrong with data: they do not validate, which has a name, or what looks at them has a defect."""
    return JobError(invalid, error.message) if isinstance(error, BrokerProtocolError) else describe(error)

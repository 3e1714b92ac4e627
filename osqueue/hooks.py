"""What an application may hear about its worker's jobs. A hook that fails is logged and changes nothing."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from osqueue.job import ClaimedJob, JobError
from osqueue.messages import Settled

log = logging.getLogger("osqueue.worker")

Outcome = Awaitable[None] | None


@dataclass(slots=True)
class Hooks:
    """Plain functions or coroutine functions, called in the worker's event loop."""

    on_claimed: Callable[[ClaimedJob], Outcome] | None = None
    """A job is claimed and about to run."""
    on_completed: Callable[[ClaimedJob, bytes | None], Outcome] | None = None
    """Its completion, with this result, is durable."""
    on_failed: Callable[[ClaimedJob, JobError, Settled], Outcome] | None = None
    """Its failure is durable; `Settled` says whether it is ready again, scheduled or dead."""
    on_lost: Callable[[ClaimedJob], Outcome] | None = None
    """Its lease was lost; somebody else runs it, or it is gone."""

    async def claimed(self, job: ClaimedJob) -> None:
        if self.on_claimed is not None:
            await _call(self.on_claimed, job)

    async def completed(self, job: ClaimedJob, result: bytes | None) -> None:
        if self.on_completed is not None:
            await _call(self.on_completed, job, result)

    async def failed(self, job: ClaimedJob, error: JobError, settled: Settled) -> None:
        if self.on_failed is not None:
            await _call(self.on_failed, job, error, settled)

    async def lost(self, job: ClaimedJob) -> None:
        if self.on_lost is not None:
            await _call(self.on_lost, job)


async def _call(hook: Callable[..., Outcome], *args: object) -> None:
    try:
        outcome = hook(*args)
        if inspect.isawaitable(outcome):
            await outcome
    except (asyncio.CancelledError, KeyboardInterrupt):  # about the worker, not about the hook
        raise
    except BaseException:
        log.exception("the hook %s failed", getattr(hook, "__qualname__", hook))

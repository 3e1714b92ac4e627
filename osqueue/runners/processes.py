"""Functions that compute, each call in another process: spawned, reused, recycled, killed when the lease is lost."""

import asyncio
import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import threading
import weakref
from multiprocessing.process import BaseProcess
from typing import Any

from osqueue.context import JobContext
from osqueue.errors import WorkerExecutionError
from osqueue.failures import RateLimited, Reject, Retry
from osqueue.handlers import BoundHandler
from osqueue.runners.base import ProcessFailure
from osqueue.runners.child import serve
from osqueue.runners.threads import ThreadPool

_children: "weakref.WeakSet[_Child]" = weakref.WeakSet()


@atexit.register
def _kill_all() -> None:
    """Before multiprocessing's own end, which would wait for children that heed no SIGTERM."""
    for child in list(_children):
        child.kill()


class _Child:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs,), name="osqueue-job", daemon=True)
        self.process.start()
        theirs.close()
        self.jobs = 0
        _children.add(self)
        self._sending = threading.Lock()

    def send(self, message: tuple[Any, ...]) -> None:
        """From whichever thread: one message at a time."""
        with self._sending:
            self.connection.send(message)

    def call(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        """Run one job there; blocks. Raises `ProcessFailure`, or EOFError when the process died."""
        self.jobs += 1
        self.send(("run", handler.function, handler.takes_context, payload, context.job))
        while True:
            kind, *rest = self.connection.recv()
            if kind == "progress":
                context.progress(*rest)
            elif kind == "done":
                value, context.follow_ups = rest
                return value
            else:
                raise _failure(*rest)

    def kill(self) -> None:
        """End it, with all that its handlers have started."""
        pid = self.process.pid
        if pid is not None and self.process.exitcode is None and hasattr(os, "killpg"):
            with contextlib.suppress(OSError):  # it has not made its group yet, or is gone
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()

    def memory_mb(self) -> int:
        """What it holds, where the system says so."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Kill it, and leave no zombie and no pipe behind."""
        self.kill()
        self.process.join()
        self.connection.close()


class ProcessRunner:
    """As many processes as there are slots for such handlers, each with a thread that talks to it.

    One that has done `max_jobs`, or holds `max_mb` of memory after a job, is replaced; 0: never.
    """

    interruptible = True

    def __init__(self, size: int, max_jobs: int = 0, max_mb: int = 0) -> None:
        self._max_jobs = max_jobs
        self._max_mb = max_mb
        self._pool = ThreadPool(size, "osqueue-process")
        self._idle: list[_Child] = []
        self._busy: dict[JobContext, _Child] = {}
        self._closed = False

    async def run(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        try:
            return await self._pool.run(lambda: self._call(handler, payload, context))
        except asyncio.CancelledError:
            child = self._busy.get(context)
            context.stop(lost=True)
            if child is not None:
                child.kill()
            raise

    def ask_to_stop(self, context: JobContext) -> None:
        child = self._busy.get(context)
        if child is not None:
            with contextlib.suppress(OSError):  # it has just died, which is as good
                child.send(("cancel", context.job_id))

    async def close(self) -> None:
        self._closed = True
        self._pool.close()
        for child in list(self._busy.values()):
            child.kill()
        idle, self._idle = self._idle, []
        for child in idle:
            await asyncio.to_thread(child.close)

    def _call(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        """In the pool's thread."""
        child = self._take()
        self._busy[context] = child
        healthy = False
        try:
            if context.lease_lost:  # it was interrupted while its process started
                raise EOFError
            value = child.call(handler, payload, context)
            healthy = True
            return value
        except ProcessFailure:
            healthy = True
            raise
        except (EOFError, OSError) as error:
            child.process.join(1)
            gone = WorkerExecutionError(f"the process of the handler ended by itself ({_how(child.process)})")
            gone.error_type = "ProcessDied"
            raise gone from error
        finally:
            del self._busy[context]
            if healthy and not self._closed and not self._is_worn(child):
                self._idle.append(child)
            else:
                child.close()

    def _is_worn(self, child: _Child) -> bool:
        if self._max_jobs and child.jobs >= self._max_jobs:
            return True
        return bool(self._max_mb) and child.memory_mb() >= self._max_mb

    def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.process.is_alive():
                return child
            child.close()
        return _Child()


def _failure(classes: list[str], kind: str, message: str, delay_ms: int | None, rejected: bool) -> Exception:
    if rejected:
        return Reject(message)
    if "osqueue.failures.Retry" in classes:
        return Retry(message, delay_ms=delay_ms)
    if "osqueue.failures.RateLimited" in classes:
        return RateLimited(message, limit=kind, retry_after_ms=delay_ms or 0)
    failure = ProcessFailure(message)
    failure.error_type = kind
    failure.classes = frozenset(classes)
    return failure


def _how(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None:
        return "it does not answer"
    return f"signal {-code}" if code < 0 else f"exit code {code}"

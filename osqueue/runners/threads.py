"""Plain functions, each call in a thread of a fixed set.

The threads are daemons: a handler that ignores every request to stop must not keep a
drained worker's process from ending.
"""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

from osqueue.context import JobContext
from osqueue.errors import WorkerExecutionError
from osqueue.handlers import BoundHandler

Work = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class ThreadPool:
    """At most `size` daemon threads, started as they are needed."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], Any]) -> Any:
        """What `function` returns or raises, from one of the threads."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif len(self._threads) < self._size:
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._work.put((function, future, loop))
        return await future

    def close(self) -> None:
        """Let idle threads end, and busy ones when their function returns."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            function, future, loop = work
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - whoever awaits the future hears it
                outcome = _raised(error)
                self._deliver(loop, _set_exception, future, outcome)
            else:
                self._deliver(loop, _set_result, future, value)
            del work, future
            with self._lock:
                self._idle += 1

    @staticmethod
    def _deliver(loop: asyncio.AbstractEventLoop, how: Callable[..., None], future: Any, outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the outcome any more
            loop.call_soon_threadsafe(how, future, outcome)


def _raised(error: BaseException) -> BaseException:
    """A future cannot carry StopIteration, and SystemExit must fail the job, not the worker."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = WorkerExecutionError(f"the handler raised {type(error).__name__}: {error}")
    wrapped.error_type = type(error).__name__
    return wrapped


def _set_result(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class ThreadRunner:
    """Plain functions, in a pool as large as there are slots for them."""

    interruptible = False

    def __init__(self, size: int) -> None:
        self._pool = ThreadPool(size, "osqueue-job")

    async def run(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        function = handler.function
        run = contextvars.copy_context().run
        if handler.takes_context:
            return await self._pool.run(lambda: run(function, payload, context))
        return await self._pool.run(lambda: run(function, payload))

    def ask_to_stop(self, context: JobContext) -> None:
        """It shares the context."""

    async def close(self) -> None:
        self._pool.close()

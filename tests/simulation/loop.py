"""An event loop on virtual time, with a seeded scheduler.

The loop runs a world of **nodes**. A node stands for one process: its callbacks run in
the order in which they became ready, as asyncio promises them. Between nodes the seed chooses
who runs next. Time moves only when nobody can run, to the next timer.

A node can be killed (what it was doing is never resumed, no `finally` runs), stopped (as by
SIGSTOP: its clock goes on) and suspended (as a virtual machine: its clock stands still too).

There are no threads and no I/O. Equal seeds give equal runs: futures and tasks hash by
their number, so that not even the order of a set depends on addresses.
"""

import asyncio
import asyncio.events
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

from osqueue_service.errors import OsqueueError

NODE: ContextVar["Node"] = ContextVar("node")

# Timers are never closer than this (ms), so that rounding cannot make one fire again and again at one moment.
_TICK_MS = 0.001


class Handle:
    """A callback that waits for its turn or its time."""

    __slots__ = ("args", "callback", "context", "node", "skew", "when_ms")

    def __init__(self, node: "Node", callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.node = node
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.when_ms = 0.0
        self.skew = 0.0

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_ms / 1_000


class _Numbered:
    """What makes sets of futures iterate alike in every run: a hash that counts who was asked for it first."""

    _count = 0

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            _Numbered._count += 1
            self._number = _Numbered._count
            return self._number


class SimFuture(_Numbered, asyncio.Future):  # type: ignore[type-arg]
    node: "Node"


class SimTask(_Numbered, asyncio.Task):  # type: ignore[type-arg]
    node: "Node"


class Node:
    """One process of the simulated world."""

    def __init__(self, loop: "SimLoop", name: str) -> None:
        self.loop = loop
        self.name = name
        self.ready: deque[Handle] = deque()
        self.alive = True
        self.stopped = False
        self.steps = 0
        self.rate = 1.0
        """How fast its monotonic clock runs."""
        self.skew = 0.0
        """Milliseconds of real time that its monotonic clock has missed while suspended."""
        self.wall_shift_ms = 0.0
        self._suspended_at: float | None = None
        self._context = copy_context()
        self._context.run(NODE.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str = "") -> "asyncio.Task[Any]":
        """Run the coroutine as a task of this node."""
        return self.loop.create_task(coroutine, name=name or None, context=self._context.copy())

    def call_at_ms(self, when_ms: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Run the callback on this node at a moment of the world's time."""
        return self.loop.schedule(self, when_ms, callback, args, self._context)

    def monotonic_ms(self) -> float:
        return (self.loop.now_ms - self.skew) * self.rate

    def kill(self) -> None:
        """The process is gone: nothing of it runs ever again."""
        self.alive = False
        self.ready.clear()
        self.loop.unready(self)

    def stop(self, *, suspend: bool = False) -> None:
        """Freeze the process, with `suspend` its clock too."""
        if self.alive and not self.stopped:
            self.stopped = True
            self._suspended_at = self.loop.now_ms if suspend else None
            self.loop.unready(self)

    def resume(self) -> None:
        """Let it go on, with everything that happened to it meanwhile."""
        if not self.alive or not self.stopped:
            return
        self.stopped = False
        if self._suspended_at is not None:
            self.skew += self.loop.now_ms - self._suspended_at
            self._suspended_at = None
        if self.ready:
            self.loop.runnable.append(self)


def _tell(done: "asyncio.Future[Any]", result: object) -> None:
    if not done.done():
        done.set_result(result)


class SimLoop(asyncio.AbstractEventLoop):
    """The loop. `failures` collects what nobody caught."""

    def __init__(self, seed: int) -> None:
        self.now_ms = 0.0
        self.steps = 0
        self.runnable: list[Node] = []
        self.failures: list[str] = []
        self.on_step: Callable[[Node], None] | None = None
        self.tasks: list[SimTask] = []
        self.thread_ms = 0.0
        """What is given to a thread takes up to so long."""
        self._draw = random.Random(f"schedule {seed}").random
        self._draw_thread = random.Random(f"threads {seed}").random
        self._timers: list[tuple[float, int, Handle]] = []
        self._scheduled = 0
        self._closed = False
        self.world = Node(self, "world")

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], *, steps_max: int = 5_000_000) -> None:
        """Run until `until()` holds, asked after each move of time and every few steps."""
        asyncio.events._set_running_loop(self)
        last = self.steps + steps_max
        try:
            while not until():
                if not self.runnable and not self._advance():
                    raise RuntimeError("deadlock: nobody can run, and no timer is pending")
                for _ in range(64):
                    if not self.runnable:
                        break
                    self._step()
                if self.steps > last:
                    raise RuntimeError(f"livelock: {steps_max} steps without an end")
        finally:
            asyncio.events._set_running_loop(None)

    def _step(self) -> None:
        runnable = self.runnable
        position = int(self._draw() * len(runnable)) if len(runnable) > 1 else 0
        node = runnable[position]
        handle = node.ready.popleft()
        if not node.ready:
            runnable[position] = runnable[-1]
            runnable.pop()
        self.steps += 1
        node.steps += 1
        callback = handle.callback
        if callback is None:
            return
        try:
            handle.context.run(callback, *handle.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - what a callback raises is the simulation's to report
            self.failures.append(f"{node.name}: {callback!r} raised {error!r}")
        if self.on_step is not None:
            self.on_step(node)

    def _advance(self) -> bool:
        """Move time to the next timer, and make everything ready that is due then."""
        timers = self._timers
        while timers and not self.runnable:
            when_ms, _, handle = heapq.heappop(timers)
            node = handle.node
            if handle.callback is None or not node.alive:
                continue
            if handle.skew != node.skew:  # its clock stood still meanwhile, and its timers with it
                missed, handle.skew = node.skew - handle.skew, node.skew
                self._push(when_ms + missed, handle)
                continue
            if when_ms > self.now_ms:
                self.now_ms = when_ms
            self._make_ready(handle)
        return bool(self.runnable)

    def _make_ready(self, handle: Handle) -> None:
        node = handle.node
        if not node.alive or self._closed:
            return
        if not node.ready and not node.stopped:
            self.runnable.append(node)
        node.ready.append(handle)

    def unready(self, node: Node) -> None:
        if node in self.runnable:
            self.runnable.remove(node)

    def dispose(self) -> None:
        """Forget everything; callbacks and tasks that are left never run."""
        self._closed = True
        self._timers.clear()
        self.runnable.clear()
        self.tasks.clear()

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Handle:
        if context is None:
            context = copy_context()
        handle = Handle(context.get(NODE) or self.world, callback, args, context)
        self._make_ready(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self.now_ms / 1_000 + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        return self.schedule(context.get(NODE) or self.world, when * 1_000, callback, args, context)

    def schedule(
        self, node: Node, when_ms: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> Handle:
        handle = Handle(node, callback, args, context)
        handle.skew = node.skew
        self._push(max(when_ms, self.now_ms + _TICK_MS), handle)
        return handle

    def _push(self, when_ms: float, handle: Handle) -> None:
        handle.when_ms = when_ms
        self._scheduled += 1
        heapq.heappush(self._timers, (when_ms, self._scheduled, handle))

    def time(self) -> float:
        return self.now_ms / 1_000

    def run_in_executor(self, executor: None, work: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Done at once and told later: threads would make one run differ from the next."""
        done = self.create_future()
        result = work(*args)
        if self.thread_ms:
            self.call_later(self._draw_thread() * self.thread_ms / 1_000, _tell, done, result)
        else:
            done.set_result(result)
        return done

    def create_future(self) -> "asyncio.Future[Any]":
        future = SimFuture(loop=self)
        future.node = NODE.get(None) or self.world
        return future

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> "asyncio.Task[Any]":
        task = SimTask(coro, loop=self, name=name, context=context)
        task.node = (context.get(NODE) if context is not None else NODE.get(None)) or self.world
        self.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        node = getattr(context.get("future"), "node", self.world)
        if not node.alive and isinstance(context.get("exception"), OsqueueError):
            return  # who would have heard of this refusal, or was about to, was killed before
        if not self._closed:
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def unseen_errors(self) -> list[str]:
        """Errors of tasks that nobody looked at: work that ended without anyone hearing of it."""
        found = []
        for task in self.tasks:
            if task.done() and not task.cancelled() and task._exception is not None and task._log_traceback:
                if not task.node.alive and isinstance(task._exception, OsqueueError):
                    continue  # who would have heard of this refusal was killed before
                found.append(f"task {task.get_name()} of {task!r} raised {task._exception!r}, and nobody heard")
        return found

"""What a worker needs of a place where handlers run."""

from typing import Any, Protocol

from osqueue.context import JobContext
from osqueue.errors import WorkerExecutionError
from osqueue.handlers import BoundHandler


class Runner(Protocol):
    """Runs one handler call per slot."""

    @property
    def interruptible(self) -> bool:
        """Cancelling `run` ends the handler. If not, only the context tells it to stop, and its slot stays taken."""
        ...

    async def run(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        """What the handler returns; raises what it raises."""
        ...

    def ask_to_stop(self, context: JobContext) -> None:
        """The job was cancelled: say so to a handler that this process's context does not reach."""
        ...

    async def close(self) -> None:
        """End whatever still runs; idempotent."""
        ...


class LoopRunner:
    """Coroutine functions, in the worker's own event loop."""

    interruptible = True

    async def run(self, handler: BoundHandler, payload: Any, context: JobContext) -> Any:
        if handler.takes_context:
            return await handler.function(payload, context)
        return await handler.function(payload)

    def ask_to_stop(self, context: JobContext) -> None:
        """It shares the context, and is cancelled."""

    async def close(self) -> None:
        """Nothing is left when the worker's attempts have ended."""


class ProcessFailure(WorkerExecutionError):
    """What a handler raised in its process. `classes` names the exception's class and all its bases."""

    tag = "WorkerExecutionError"
    classes: frozenset[str] = frozenset()

"""What runs around a worker's handlers.

    async def timed(context: JobContext, proceed: Proceed) -> object:
        began = time.monotonic()
        try:
            return await proceed()
        finally:
            seconds.observe(time.monotonic() - began)

    worker.use(timed)

It runs in the worker's event loop, whatever the handler runs in, and sees what the handler returns
and raises. A plain function takes the context alone and returns a context manager.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from osqueue.context import JobContext
from osqueue.errors import ConfigError

Proceed = Callable[[], Awaitable[Any]]
"""Runs what is inside, the handler in the end, and returns what that returns. Not calling it skips the handler."""

AsyncMiddleware = Callable[[JobContext, Proceed], Awaitable[Any]]
SyncMiddleware = Callable[[JobContext], AbstractContextManager[Any]]
Middleware = AsyncMiddleware | SyncMiddleware


class Around:
    """A worker's middleware, the outermost first."""

    def __init__(self) -> None:
        self._layers: list[AsyncMiddleware] = []

    def __bool__(self) -> bool:
        return bool(self._layers)

    def add(self, middleware: Middleware) -> None:
        """Put it inside all others."""
        name = getattr(middleware, "__qualname__", repr(middleware))
        if not callable(middleware):
            raise ConfigError(f"middleware must be a function, got {middleware!r}")
        takes = 2 if inspect.iscoroutinefunction(middleware) else 1
        try:
            inspect.signature(middleware).bind(*[None] * takes)
        except TypeError as error:
            raise ConfigError(
                f"the middleware {name} must be `async def {name}(context, proceed)`, or a plain function of the "
                f"context that returns a context manager: {error}"
            ) from error
        if takes == 2:
            self._layers.append(cast(AsyncMiddleware, middleware))
        else:
            self._layers.append(_entering(cast(SyncMiddleware, middleware)))

    async def run(self, context: JobContext, handler: Proceed) -> Any:
        """The handler within all layers."""
        for layer in reversed(self._layers):
            handler = _within(layer, context, handler)
        return await handler()


def _within(layer: AsyncMiddleware, context: JobContext, proceed: Proceed) -> Proceed:
    return lambda: layer(context, proceed)


def _entering(function: SyncMiddleware) -> AsyncMiddleware:
    async def entered(context: JobContext, proceed: Proceed) -> Any:
        with function(context):
            return await proceed()

    return entered

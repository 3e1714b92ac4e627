"""What the synchronous client stands on: an asynchronous one, and an event loop for it in a thread.

`osqueue.sync` is generated from the asynchronous classes by scripts/generate_sync.py; what is not a matter of rewriting
them is here.
"""

import asyncio
import copy
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from osqueue.errors import TransportConfigError, TransportConnectionError

if TYPE_CHECKING:
    from osqueue.batches import Batch
    from osqueue.client import OsqueueClient
    from osqueue.handle import JobHandle
    from osqueue.registry import Registry

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


class BackgroundLoop:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's outcome. Interrupted, it is cancelled."""
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items, fetched one by one as they are asked for."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(_close(items))

    def close(self) -> None:
        """End the thread; idempotent."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise TransportConnectionError("the client is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                threading.Thread(target=_serve, args=(self._loop,), name="osqueue-client", daemon=True).start()
            elif self._pid != os.getpid():
                raise TransportConfigError(
                    f"this client connected in process {self._pid} and cannot be used in its fork {os.getpid()}: "
                    "connect only after the fork, or start processes with the spawn method"
                )
            return self._loop


class BackgroundCalls:
    """The calls of an asynchronous client, and the loop that runs them."""

    _client: "OsqueueClient"
    _loop: BackgroundLoop


class BackgroundClient(BackgroundCalls):
    """An asynchronous client in a loop of its own."""

    def __init__(self, client: "OsqueueClient") -> None:
        self._client = client
        self._loop = BackgroundLoop()
        self._loop_is_own = True
        self._closed = False

    @classmethod
    def beside(cls, client: "OsqueueClient") -> Self:
        """One to the same broker, with the same options, over a connection of its own."""
        made = cls.__new__(cls)
        BackgroundClient.__init__(made, client._twin())
        return made

    def queue(self, name: str) -> Self:
        """A client of the queue with this name, over this client's connections and in its loop; "" is the queue that
        this one works in. It ends with this one."""
        made = copy.copy(self)
        made._client, made._loop_is_own = self._client.queue(name), False
        for attribute, part in vars(self).items():
            if isinstance(part, BackgroundPart):
                setattr(made, attribute, type(part)(getattr(made._client, attribute), self._loop))
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def registry(self) -> "Registry":
        """The job types this client knows."""
        return self._client.registry

    def close(self) -> None:
        """Finish the calls under way, within `timeout_ms`, and disconnect; idempotent. No call may follow."""
        if not self._closed:
            self._closed = True
            self._loop.run(self._client.close())
            if self._loop_is_own:
                self._loop.close()


class BackgroundPart(Generic[P]):
    """A part of an asynchronous client, such as its operator's calls, and the loop that runs them."""

    def __init__(self, part: P, loop: BackgroundLoop) -> None:
        self._part = part
        self._loop = loop


class BackgroundBatch:
    """An asynchronous batch, and the loop that runs its calls."""

    def __init__(self, batch: "Batch", loop: BackgroundLoop) -> None:
        self._batch = batch
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._batch)

    @property
    def id(self) -> str:
        """Its id, once it is open."""
        return self._batch.id

    def open(self) -> Self:
        """Open it. Again: nothing. `BrokerProtocolError`, `QueueFullError`."""
        self._loop.run(self._batch.open())
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._batch.__aexit__(kind, error, trace))


class BackgroundHandle(Generic[R]):
    """An asynchronous handle, and the loop that runs its calls."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, handle: "JobHandle[R]", loop: BackgroundLoop) -> None:
        self._handle = handle
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    @property
    def deduplicated(self) -> bool:
        """An earlier submission with the same idempotency key had made this job."""
        return self._handle.deduplicated


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _close(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()

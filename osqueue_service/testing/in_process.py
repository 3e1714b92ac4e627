"""A complete broker in the process of a test: real port, real log, a store in memory or in a directory.

    async with broker_in_process() as broker:
        async with grpc.aio.insecure_channel(broker.address) as channel: ...

`BrokerThread` is the same for code that has no event loop of its own.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from osqueue_service.app import App, build
from osqueue_service.clock import Clock
from osqueue_service.config import Settings

T = TypeVar("T")


@asynccontextmanager
async def broker_in_process(
    *,
    data_dir: Path | str | None = None,
    settings: Mapping[str, str] | None = None,
    queue_clock: Clock | None = None,
) -> AsyncIterator[App]:
    """A broker that leads, on a free port of the loopback interface; stopped in order at the end.

    With `data_dir` the queue is kept there and can be opened again, otherwise it is gone with the broker. `settings`
    are those of the environment, by name; the environment itself is not looked at. `queue_clock` gives the queue's own
    time: what leases, delays, backoff and retention go by.
    """
    app = await build(_settings(data_dir, settings or {}), queue_clock=queue_clock, on_loaded=lambda: None)
    try:
        await app.start(stand_by=False)
        yield app
    finally:
        await app.stop()


class BrokerThread:
    """`broker_in_process` in a thread with a loop of its own. A context manager; `address` is valid inside."""

    def __init__(
        self,
        *,
        data_dir: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
        queue_clock: Clock | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._queue_clock = queue_clock
        self._thread = threading.Thread(target=self._run, name="broker")
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._app: App | None = None
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """host:port of the broker."""
        assert self._app is not None, "the broker does not run"
        return self._app.address

    def run(self, work: Callable[[App], Coroutine[Any, Any, T]]) -> T:
        """What `work` makes of the broker, in the broker's own loop; call it from another thread."""
        assert self._app is not None and self._loop is not None, "the broker does not run"
        return asyncio.run_coroutine_threadsafe(work(self._app), self._loop).result()

    def __enter__(self) -> "BrokerThread":
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits for us
            self._failure = failure
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with broker_in_process(
            data_dir=self._data_dir, settings=self._settings, queue_clock=self._queue_clock
        ) as self._app:
            self._started.set()
            await self._over.wait()


def _settings(data_dir: Path | str | None, given: Mapping[str, str]) -> Settings:
    defaults = {"BROKER_HOST": "127.0.0.1", "BROKER_GRPC_PORT": "0"}
    if data_dir is not None:
        defaults |= {"STORAGE_BACKEND": "file", "OSQUEUE_DATA_DIR": str(data_dir)}
    return Settings.read({**defaults, **given})

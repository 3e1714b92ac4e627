"""An event loop whose time passes only when nothing else can happen, and the clock and ids that go with it."""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from osqueue_service.clock import Timer

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, moves the loop's time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits for another one")
        self.now += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: None, work: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """At once: time would pass while a thread works."""
        done: asyncio.Future[Any] = self.create_future()
        done.set_result(work(*args))
        return done


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop of its own, then drop every task that is left."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


class VirtualClock:
    """A `Clock` over the running virtual loop. The wall clock is off by `wall_offset_ms`, and nothing may care."""

    def __init__(self, wall_offset_ms: int = 1_700_000_000_000) -> None:
        self.wall_offset_ms = wall_offset_ms

    def wall_ms(self) -> int:
        return self.wall_offset_ms + int(self.monotonic_ms())

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1_000

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(delay_ms / 1_000)

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1_000, callback)

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        async with asyncio.timeout(limit_ms / 1_000):
            return await work


class SeededIds:
    """An `IdSource` that repeats with its seed."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def salt(self) -> str:
        return self._text(6)

    def token(self) -> str:
        return self._text(22)

    def incarnation(self) -> str:
        return self._text(26)

    def nonce(self) -> str:
        return self._text(16)

    def jitter(self) -> float:
        return self.random.random()

    def _text(self, length: int) -> str:
        return f"{self.random.getrandbits(5 * length):0{length}x}"[-length:]

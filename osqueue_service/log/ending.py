"""Why something ended: told once, heard by many."""

import asyncio
from collections.abc import Callable, Generator


class Ending:
    """The end of a lane or a term. Await it for the reason; a waiter that is cancelled disturbs no other."""

    def __init__(self) -> None:
        self.over = False
        self._reason: Exception | None = None
        self._waiters: list[asyncio.Future[Exception]] = []
        self._listeners: list[Callable[[Exception], object]] = []

    def result(self) -> Exception:
        """The reason; only once there is one."""
        assert self._reason is not None, "it has not ended"
        return self._reason

    def set(self, reason: Exception) -> bool:
        """It ends now, for this reason. False when it had ended before, and nothing changes."""
        if self._reason is not None:
            return False
        self._reason = reason
        self.over = True
        for listener in self._listeners:
            listener(reason)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(reason)
        self._waiters.clear()
        return True

    def listen(self, listener: Callable[[Exception], object]) -> None:
        """Call `listener` with the reason in the moment it ends, or now if it has."""
        if self._reason is not None:
            listener(self._reason)
        else:
            self._listeners.append(listener)

    def __await__(self) -> Generator[object, None, Exception]:
        if self._reason is None:
            waiter: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self.result()

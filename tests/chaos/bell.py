"""One place to wait for anything that happens in a run: an answer, a line of a log, a write to the bucket."""

import asyncio
import time
from collections.abc import Callable


class Bell:
    """Rung whenever something happened; whoever waits looks again."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def ring(self) -> None:
        """Something happened."""
        self._changed.set()

    async def until(self, happened: Callable[[], bool], what: str, limit_s: float) -> float:
        """Return once it has happened, with the seconds it took; an `AssertionError` says what never did."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {limit_s:.0f} s in vain for {what}") from None
        return time.monotonic() - began_s

"""Noticing, from another thread, that a handler blocks the worker's event loop, and naming it."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

log = logging.getLogger("osqueue.worker")

BLOCKED_S = 1.0
"""A loop that does not turn for this long delays every other job of its worker."""

HELD_UP_S = 0.2
"""A loop that does not turn for this long holds up what was claimed ahead: with the keeper's tick, half a second."""


class LoopWatchdog:
    """Asks the loop to answer, again and again. `check` is called from a thread that the loop cannot hold up."""

    def __init__(self, name_of_task: Callable[["asyncio.Task[object] | None"], str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._name_of_task = name_of_task
        self._asked_at: float | None = None
        self._reported = False
        self.blocked = 0

    def check(self) -> None:
        """Report a loop that has not answered for too long, once per time it happens."""
        now = time.monotonic()
        if self._asked_at is None:
            self._reported = False
            self._asked_at = now
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._answer)
        elif now - self._asked_at >= BLOCKED_S and not self._reported:
            self._reported = True
            self.blocked += 1
            self._report()

    @property
    def held_up(self) -> bool:
        """The loop has not turned for so long that others should do what waits for it."""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - asked_at >= HELD_UP_S

    def _answer(self) -> None:
        self._asked_at = None

    def _report(self) -> None:
        frame = sys._current_frames().get(self._thread_id)
        place = "".join(traceback.format_list(traceback.extract_stack(frame)[-3:])) if frame is not None else ""
        log.warning(
            "%s has blocked the event loop for more than %.0f ms; all other jobs of this worker wait. Await instead of "
            "blocking, or make it a plain function: those run in threads. It is here:\n%s",
            self._name_of_task(asyncio.current_task(self._loop)),
            BLOCKED_S * 1_000,
            place.rstrip(),
        )

"""Which handlers of a worker may run beside each other: suspects run apart from all other jobs."""

import asyncio
import logging
from collections.abc import Callable

from osqueue.suspects import Suspects

log = logging.getLogger("osqueue.worker")


class Apart:
    """The door before a worker's handlers. Without suspects it is open."""

    def __init__(self, suspects: Suspects | None) -> None:
        self.suspects = suspects
        self._others = 0
        self._inside = 0
        """Handlers that run: of jobs that nobody suspects, and of suspects."""
        self._suspects_waiting = 0
        self._changed: asyncio.Future[None] | None = None
        self._told = False

    def is_open(self) -> bool:
        """Whether a handler may begin at once: then it has entered."""
        if self.suspects is None or not self.suspects.ids:
            self._others += 1
            return True
        return False

    async def enter(self, job_id: str, stopped: Callable[[], bool]) -> bool:
        """Returns when the job's handler may begin, or is not to begin at all; whether it is a suspect."""
        suspects = self.suspects
        if suspects is None or self.is_open():
            return False
        self._tell(suspects)
        if job_id not in suspects.ids:
            while suspects.ids and (self._inside or self._suspects_waiting) and not stopped():
                await self._change()
            self._others += 1
            return False
        self._suspects_waiting += 1
        try:
            while (self._others or self._inside >= suspects.at_a_time) and not stopped():
                await self._change()
        finally:
            self._suspects_waiting -= 1
        self._inside += 1
        return True

    def leave(self, job_id: str, suspect: bool) -> None:
        """It has ended, and the worker lives."""
        if suspect:
            self._inside -= 1
            if self.suspects is not None:
                self.suspects.clear(job_id)
        else:
            self._others -= 1
        self.wake()

    def wake(self) -> None:
        """Look again, whoever waits."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _tell(self, suspects: Suspects) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "a worker of this machine died while it ran %d jobs; any of them may be the reason, so they are run "
                "apart from others, %d at a time",
                len(suspects.ids),
                suspects.at_a_time,
            )

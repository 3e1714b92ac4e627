"""Which places a worker's handlers run in, and how many may run there at once."""

from collections.abc import Iterable

from osqueue.handlers import BoundHandler
from osqueue.runners.base import LoopRunner, Runner


def runners(
    handlers: Iterable[BoundHandler], concurrency: int, process_max_jobs: int, process_max_mb: int
) -> dict[str, Runner]:
    """A runner for each place. `concurrency`: the slots of all handlers without slots of their own."""
    slots: dict[str, int] = {}
    sharing: set[str] = set()
    for handler in handlers:
        if handler.concurrency is None:
            sharing.add(handler.runs_in)
        slots[handler.runs_in] = slots.get(handler.runs_in, 0) + (handler.concurrency or 0)
    made: dict[str, Runner] = {}
    for place, own in slots.items():
        size = own + (concurrency if place in sharing else 0)
        if place == "loop":
            made[place] = LoopRunner()
        elif place == "thread":
            from osqueue.runners.threads import ThreadRunner

            made[place] = ThreadRunner(size)
        else:
            from osqueue.runners.processes import ProcessRunner

            made[place] = ProcessRunner(size, process_max_jobs, process_max_mb)
    return made

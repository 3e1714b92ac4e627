"""Running workers until nothing is left to do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from osqueue import Handler, JobType, OsqueueClient, Worker

Handlers = Mapping[str | JobType[Any, Any], Callable[..., Any] | Handler] | Mapping[str, Any] | Mapping[Any, Any]
"""Job types and the functions that do them, as a `Worker` takes them."""


@dataclass(slots=True)
class Ran:
    """What workers did. `failed` counts attempts; `lost` those whose lease was over before their outcome was known."""

    completed: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0

    def add(self, worker: Worker) -> None:
        """Count what the worker did in its last run."""
        state = worker.state()
        self.completed += state.completed
        self.failed += state.failed
        self.released += state.released
        self.lost += state.lost


@asynccontextmanager
async def crew(given: Sequence[Worker | Handlers], client: OsqueueClient) -> AsyncIterator[list[Worker]]:
    """The workers given, and one for each map of handlers."""
    if not given:
        raise TypeError("give a worker, or a map from job types to handlers")
    async with client:
        yield [one if isinstance(one, Worker) else Worker(client, one) for one in given]


async def run_until_idle(workers: Sequence[Worker], ran: Ran) -> None:
    """Run them, together and again, until none finds a job: what one enqueues may be another's."""
    while True:
        await asyncio.gather(*(worker.run(until_idle=True, handle_signals=False) for worker in workers))
        for worker in workers:
            ran.add(worker)
        if not any(worker.state().claimed for worker in workers):
            return

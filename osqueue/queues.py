"""The queues with names: `client.queues`."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from osqueue.messages import Question
from osqueue.queue_messages import (
    CreateQueueRequest,
    DeleteQueueRequest,
    ListQueuesRequest,
    QueueCreated,
    QueueInfo,
    QueueRequest,
    UpdateQueueRequest,
)
from osqueue.session import Session
from osqueue.submission import integer, text

A = TypeVar("A")

QUEUES_PER_PAGE = 1_000


class Queues:
    """The queues beside the default one: what there is, and what is said of each. `client.queue(name)` works in one.

        await client.queues.create("emails", description="to customers")
        await client.queue("emails").submit_job("welcome", {"to": "ada@example.org"})

    Each method can fail as every call can; `BrokerProtocolError` says what is wrong with its arguments, and
    `QueueNotFoundError` that no queue has the name, with those that are called nearly so.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session

    async def create(self, name: str, *, description: str = "", max_jobs: int = 0) -> QueueCreated:
        """Create a queue; one that there is already stays as it is, and is answered.

        `name`: 1 to 40 characters of a-z, 0-9 and hyphens. `max_jobs`: how many live jobs it may hold; 0: as many as
        any queue.
        """
        request = CreateQueueRequest(
            text("name", name), text("description", description), integer("max_jobs", max_jobs)
        )
        return await self._ask(request, changes=True)

    async def get(self, name: str) -> QueueInfo:
        """One queue."""
        return (await self._ask(QueueRequest(text("name", name)))).queue

    async def all(self, prefix: str = "") -> AsyncIterator[QueueInfo]:
        """The queues whose names begin with `prefix`, by name. The default queue is not among them."""
        text("prefix", prefix)
        token = ""
        while True:
            page = await self._ask(ListQueuesRequest(prefix, QUEUES_PER_PAGE, token))
            for queue in page.queues:
                yield queue
            token = page.next_page_token
            if not token:
                return

    async def update(self, name: str, *, description: str | None = None, max_jobs: int | None = None) -> QueueInfo:
        """Change what is said of a queue; what is None stays. Jobs beyond a lower `max_jobs` stay, too."""
        request = UpdateQueueRequest(
            text("name", name),
            description if description is None else text("description", description),
            max_jobs if max_jobs is None else integer("max_jobs", max_jobs),
        )
        return (await self._ask(request, changes=True)).queue

    async def delete(self, name: str, *, force: bool = False) -> int:
        """Delete a queue with everything in it; returns how many live jobs it had. It must have none, unless `force`:
        then they are lost."""
        request = DeleteQueueRequest(text("name", name), name, force)
        return (await self._ask(request, changes=True)).live_jobs

    async def _ask(self, question: Question[A], *, changes: bool = False) -> A:
        """These calls come to the same however often they are sent."""
        session = self._open()
        ask = partial(session.transport.ask, question, timeout_ms=session.timeout_ms)
        return await session.run(ask, changes=changes)

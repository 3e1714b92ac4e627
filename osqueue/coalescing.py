"""Many concurrent single calls become few batches, because a message costs as much as fifty jobs.

The first call leaves at once. While its batch is under way, further calls gather and leave
together when it lands, or `SPACING_MS` after the last departure if that is sooner, so that a
slow broker does not hold up a quiet client. Each caller gets its own answer or error; one
that is cancelled takes nobody along.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from osqueue.errors import OsqueueError, TransportConnectionError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

BATCH_ITEMS = 1_000
"""As many as one batch RPC takes."""

BATCH_BYTES = 3 * 1024 * 1024
"""Well below the 4 MiB that one message may have, framing and metadata included."""

SPACING_MS = 4
FLIGHTS = 16

BUFFER_ITEMS = 20_000
BUFFER_BYTES = 64 * 1024 * 1024
"""What may wait to be sent; beyond it callers wait for room."""


class Coalescer(Generic[Item, Answer]):
    """Gathers items of one kind of call, in one event loop, and sends them in batches.

    `send` answers a batch item by item, in order, with an `OsqueueError` where one was refused; when it raises, every
    caller of the batch hears that.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Answer | OsqueueError]]],
        *,
        batch_items: int = BATCH_ITEMS,
        flights: int = FLIGHTS,
        spacing_ms: float = SPACING_MS,
    ) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._batch_items = batch_items
        self._flights_max = flights
        self._spacing_s = spacing_ms / 1_000
        self._waiting: deque[tuple[Item, int, asyncio.Future[Answer]]] = deque()
        self._waiting_bytes = 0
        self._for_room: deque[asyncio.Future[None]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._scheduled: asyncio.Handle | None = None
        self._last_departure = float("-inf")
        self._closed = False
        self.batches = 0
        self.items = 0

    @property
    def waiting(self) -> int:
        """Items not sent yet."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """Batches under way."""
        return len(self._flights)

    @property
    def _full(self) -> bool:
        """There is a batch's worth: nothing is won by waiting."""
        return len(self._waiting) >= self._batch_items or self._waiting_bytes >= BATCH_BYTES

    async def call(self, item: Item, size: int) -> Answer:
        """The item's own answer; raises its own error. `size` is about how many bytes it is on the wire."""
        while self._waiting and (len(self._waiting) >= BUFFER_ITEMS or self._waiting_bytes + size > BUFFER_BYTES):
            await self._room()
        if self._closed:
            raise TransportConnectionError("the client is closed")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, size, future))
        self._waiting_bytes += size
        if self._scheduled is None or (self._full and isinstance(self._scheduled, asyncio.TimerHandle)):
            self._schedule()
        try:
            return await future
        finally:
            # An error refers to this frame, and the future to the error: together they would keep the item until the
            # collector's next round.
            del future

    async def drain(self) -> None:
        """Return when everything given so far is answered."""
        while self._waiting or self._flights:
            if self._flights:
                await asyncio.wait(self._flights, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)

    def close(self) -> None:
        """Refuse what waits and what comes; abandon what is under way. Call `drain` first to lose nothing."""
        self._closed = True
        for flight in self._flights:
            flight.cancel()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        refusal = TransportConnectionError("the client was closed before the call was sent; nothing was changed")
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(copy.copy(refusal))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._wake_for_room()

    async def _room(self) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self._for_room.append(turn)
        await turn

    def _wake_for_room(self) -> None:
        while self._for_room:
            turn = self._for_room.popleft()
            if not turn.done():
                turn.set_result(None)

    def _schedule(self) -> None:
        """Decide when the next batch leaves. "At once" is one turn of the loop later: who is ready now comes along."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if len(self._flights) >= self._flights_max:
            return  # a landing schedules again
        if not self._flights or self._full:
            self._scheduled = self._loop.call_soon(self._depart)
            return
        due = self._last_departure + self._spacing_s
        if due <= self._loop.time():
            self._scheduled = self._loop.call_soon(self._depart)
        else:
            self._scheduled = self._loop.call_at(due, self._depart)

    def _depart(self) -> None:
        self._scheduled = None
        items, futures = self._take()
        if items:
            self._last_departure = self._loop.time()
            self.batches += 1
            self.items += len(items)
            flight = self._loop.create_task(self._fly(items, futures))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)
        if self._waiting:
            self._schedule()
        self._wake_for_room()

    def _take(self) -> tuple[list[Item], list[asyncio.Future[Answer]]]:
        items: list[Item] = []
        futures: list[asyncio.Future[Answer]] = []
        batch_bytes = 0
        waiting = self._waiting
        while waiting and len(items) < self._batch_items:
            item, size, future = waiting[0]
            if items and batch_bytes + size > BATCH_BYTES:
                break
            waiting.popleft()
            self._waiting_bytes -= size
            if future.done():  # its caller has gone; nothing was sent
                continue
            batch_bytes += size
            items.append(item)
            futures.append(future)
        return items, futures

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if not self._waiting or self._closed:
            return
        if self._scheduled is None or not self._flights:
            self._schedule()

    async def _fly(self, items: list[Item], futures: list[asyncio.Future[Answer]]) -> None:
        try:
            answers = await self._send(items)
            if len(answers) != len(items):
                raise TransportConnectionError(f"a batch of {len(items)} was answered with {len(answers)} results")
        except asyncio.CancelledError:
            refusal = TransportConnectionError("the client was closed during the call; whether it happened is unknown")
            self._refuse(futures, refusal)
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: every caller of the batch hears it
            self._refuse(futures, error)
            return
        for future, answer in zip(futures, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, OsqueueError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    @staticmethod
    def _refuse(futures: list[asyncio.Future[Answer]], error: Exception) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(copy.copy(error))

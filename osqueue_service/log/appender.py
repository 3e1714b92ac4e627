"""The leader's end of the log: one lane, several puts in flight, answers in order.

The types leave no way to acknowledge early: `append` hands out a future, and only the
segment's own put, with all before it in the lane, known to be ours, resolves it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from osqueue_service.errors import CorruptObject, Fenced, NotLeader, OutcomeUnknown
from osqueue_service.log.ending import Ending
from osqueue_service.log.position import Position
from osqueue_service.log.segment import Fence, Segment, decode
from osqueue_service.log.settle import Settler

DEPTH_MAX = 64
"""Most puts in flight. Recovery looks as far behind a gap for proof that the slot there was filled."""
LATENCY_WEIGHT = 0.2
"""Share of the newest put in the moving average of latencies."""


@dataclass(slots=True)
class _Flight:
    """A segment under way: sealed, its bytes never change again."""

    key: str
    body: bytes
    after: Position
    answer: asyncio.Future[int]
    count: int
    landed: bool = False


class Appender:
    """Appends segments to the lane of `epoch`, which begins after the leader's own fence at `fence`.

    The puts run on their own: nobody who waits for an answer can cancel one. When the
    lane ends, `lost` resolves with the reason, every answer still due becomes
    `OutcomeUnknown` (what was put may have landed and been acted upon), and nothing is
    acknowledged ever after.
    """

    def __init__(self, settler: Settler, *, epoch: int, incarnation: str, fence: Position, depth: int) -> None:
        if not 1 <= depth <= DEPTH_MAX:
            raise ValueError(f"the pipeline depth is {depth}; it must be from 1 to {DEPTH_MAX}")
        self.epoch = epoch
        self.incarnation = incarnation
        self.depth = depth
        self.appended = fence
        """After the last segment appended, durable or not."""
        self.released = fence
        """After the last segment known to be durable with all before it."""
        self.latency_ms = 0.0
        """Moving average of how long an undisturbed put takes; 0 until the first one."""
        self.lost = Ending()
        self._settler = settler
        self._flights: deque[_Flight] = deque()
        self._puts: set[asyncio.Task[None]] = set()
        self._release_waits: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def next_sequence(self) -> int:
        return self.appended.sequence + 1

    @property
    def in_flight(self) -> int:
        """Segments appended and not yet released."""
        return len(self._flights)

    @property
    def room(self) -> bool:
        """Whether another segment may be appended now."""
        return len(self._flights) < self.depth and not self.lost.over

    def append(self, records: bytes, count: int) -> asyncio.Future[int]:
        """Seal `count` records as the next segment and begin to put it.

        The future resolves with the segment's sequence once it is durable, in sequence
        order. It fails with `OutcomeUnknown` when the lane ends first, and with
        `NotLeader` when the lane had ended before: then nothing was put.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_mark_retrieved)
        if self.lost.over:
            answer.set_exception(NotLeader("this broker no longer leads; the change was not applied"))
            return answer
        if not self.room:
            raise RuntimeError(f"append with {self.depth} segments in flight: wait for `room` first")
        segment = Segment(
            epoch=self.epoch,
            sequence=self.next_sequence,
            incarnation=self.incarnation,
            previous_hash=self.appended.hash,
            settled=self.released.sequence,
            count=count,
            records=records,
        )
        encoded = segment.encode()
        log_bytes = self.appended.log_bytes + len(encoded.body)
        self.appended = Position(self.epoch, segment.sequence, encoded.hash, log_bytes)
        flight = _Flight(segment.key, encoded.body, self.appended, answer, count)
        self._flights.append(flight)
        put = asyncio.get_running_loop().create_task(self._put(flight))
        self._puts.add(put)
        put.add_done_callback(self._puts.discard)
        return answer

    async def until_released(self, sequence: int) -> None:
        """Return once the segment at `sequence`, appended by now, is released or the lane has ended."""
        if sequence > self.released.sequence and not self.lost.over:
            released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._release_waits.append((sequence, released))
            await released

    def end(self, reason: Exception) -> None:
        """End the lane: called by whoever learns first that this term is over. Only the first call counts."""
        if not self.lost.set(reason):
            return
        for flight in self._flights:
            if not flight.answer.done():
                flight.answer.set_exception(
                    OutcomeUnknown(
                        "leadership ended while this commit was under way, so it may or may not be durable; "
                        "repeat the call with the same key"
                    )
                )
        self._flights.clear()
        self._wake()
        for put in self._puts:
            if put is not asyncio.current_task():
                put.cancel()

    async def _put(self, flight: _Flight) -> None:
        clock = self._settler.clock
        began_ms = clock.monotonic_ms()
        try:
            settled = await self._settler.put(flight.key, flight.body)
        except Exception as reason:  # noqa: BLE001
            # The store refuses for good, or this is a bug: either way the lane cannot go on past this slot.
            self.end(reason)
            return
        if self.lost.over:
            return
        if settled.other is not None:
            self.end(self._verdict(flight, settled.other))
            return
        if settled.tries == 1:
            self._measure(clock.monotonic_ms() - began_ms)
        flight.landed = True
        self._release()

    def _release(self) -> None:
        while self._flights and self._flights[0].landed:
            flight = self._flights.popleft()
            self.released = flight.after
            self._count(flight)
            if not flight.answer.done():  # a waiter may have gone and cancelled its own future
                flight.answer.set_result(flight.after.sequence)
        self._wake()

    def _count(self, flight: _Flight) -> None:
        counters = self._settler.counters
        counters.segments += 1
        counters.records += flight.count
        counters.segment_bytes += len(flight.body)
        counters.last_segment_at = max(counters.last_segment_at, self._settler.clock.wall_ms())

    def _wake(self) -> None:
        waits, self._release_waits = self._release_waits, []
        for sequence, released in waits:
            if sequence > self.released.sequence and not self.lost.over:
                self._release_waits.append((sequence, released))
            elif not released.done():
                released.set_result(None)

    def _verdict(self, flight: _Flight, found: bytes) -> Exception:
        """Why another object lies in a slot of our lane."""
        try:
            entry = decode(flight.key, found).entry
        except CorruptObject as corrupt:
            return corrupt
        if isinstance(entry, Fence):  # decoding proves that its epoch is above its lane, which is ours
            return Fenced(f"epoch {entry.epoch} has fenced this broker at {flight.key}", epoch=entry.epoch)
        return CorruptObject(
            flight.key,
            f"a segment of incarnation {entry.incarnation} lies where only {self.incarnation} may write: "
            "stop all brokers, and run `osqueue verify` before starting one again",
        )

    def _measure(self, put_ms: float) -> None:
        self.latency_ms += LATENCY_WEIGHT * (put_ms - self.latency_ms) if self.latency_ms else put_ms


def _mark_retrieved(answer: asyncio.Future[int]) -> None:
    """A waiter may be gone: its exception then needs no complaint, `lost` says why the lane ended."""
    if not answer.cancelled():
        answer.exception()

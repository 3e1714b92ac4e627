"""Concurrent single calls become batches, and nobody notices."""

import asyncio

import pytest

from osqueue import coalescing
from osqueue.coalescing import Coalescer
from osqueue.errors import LeaseLostError, OsqueueError, TransportConnectionError


class Wire:
    """Batches as they leave; each is answered when the test says so."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.answers: list[asyncio.Future[list[str | OsqueueError]]] = []
        self.departures = asyncio.Semaphore(0)

    async def send(self, items: list[str]) -> list[str | OsqueueError]:
        self.sent.append(items)
        answer: asyncio.Future[list[str | OsqueueError]] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        self.departures.release()
        return await answer

    def land(self, flight: int) -> None:
        self.answers[flight].set_result([item.upper() for item in self.sent[flight]])


@pytest.fixture
def wire():
    return Wire()


def calls(coalescer: Coalescer[str, str], *items: str, size: int = 1) -> list["asyncio.Task[str]"]:
    return [asyncio.ensure_future(coalescer.call(item, size)) for item in items]


async def test_calls_made_together_leave_together(wire):
    coalescer = Coalescer(wire.send)
    first = calls(coalescer, "a", "b", "c")
    await wire.departures.acquire()
    assert wire.sent == [["a", "b", "c"]]
    wire.land(0)
    assert await asyncio.gather(*first) == ["A", "B", "C"]


async def test_calls_gather_while_a_batch_is_under_way(wire):
    coalescer = Coalescer(wire.send, spacing_ms=60_000)
    first = calls(coalescer, "a")
    await wire.departures.acquire()
    second = calls(coalescer, "b", "c")
    await asyncio.sleep(0)
    assert wire.sent == [["a"]]
    wire.land(0)
    await wire.departures.acquire()
    assert wire.sent == [["a"], ["b", "c"]]
    wire.land(1)
    assert await asyncio.gather(*first, *second) == ["A", "B", "C"]


async def test_a_slow_batch_holds_nobody_up_for_long(wire):
    coalescer = Coalescer(wire.send, spacing_ms=1)
    calls(coalescer, "a")
    await wire.departures.acquire()
    (second,) = calls(coalescer, "b")
    await wire.departures.acquire()  # though the first has not landed
    wire.land(1)
    assert await second == "B"
    coalescer.close()


async def test_a_full_batch_does_not_wait(wire):
    coalescer = Coalescer(wire.send, batch_items=2, spacing_ms=60_000)
    calls(coalescer, "a")
    await wire.departures.acquire()
    calls(coalescer, "b", "c", "d")
    await wire.departures.acquire()
    assert wire.sent == [["a"], ["b", "c"]]
    coalescer.close()


async def test_batches_are_bounded_by_bytes(wire):
    coalescer = Coalescer(wire.send, spacing_ms=0)
    calls(coalescer, "a", "b", "c", size=coalescing.BATCH_BYTES // 2)
    await wire.departures.acquire()
    await wire.departures.acquire()
    assert wire.sent == [["a", "b"], ["c"]]
    coalescer.close()


async def test_an_item_larger_than_a_batch_travels_alone(wire):
    coalescer = Coalescer(wire.send)
    (call,) = calls(coalescer, "a", size=coalescing.BUFFER_BYTES + 1)
    await wire.departures.acquire()
    wire.land(0)
    assert await call == "A"


async def test_no_more_flights_than_allowed(wire):
    coalescer = Coalescer(wire.send, flights=1, spacing_ms=0)
    calls(coalescer, "a")
    await wire.departures.acquire()
    (second,) = calls(coalescer, "b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (coalescer.in_flight, coalescer.waiting) == (1, 1)
    wire.land(0)
    await wire.departures.acquire()
    wire.land(1)
    assert await second == "B"


async def test_each_caller_gets_its_own_error(wire):
    coalescer = Coalescer(wire.send)
    good, bad = calls(coalescer, "a", "b")
    await wire.departures.acquire()
    wire.answers[0].set_result(["A", LeaseLostError("not yours")])
    assert await good == "A"
    with pytest.raises(LeaseLostError, match="not yours"):
        await bad


async def test_an_error_of_the_batch_reaches_all_as_errors_of_their_own(wire):
    coalescer = Coalescer(wire.send)
    both = calls(coalescer, "a", "b")
    await wire.departures.acquire()
    failure = LeaseLostError("gone", reason="LEASE_LOST", retry_after_ms=7)
    wire.answers[0].set_exception(failure)
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert first is not second
    assert (str(second), second.reason, second.retry_after_ms) == ("gone", "LEASE_LOST", 7)


async def test_a_wrong_number_of_answers_is_an_error(wire):
    coalescer = Coalescer(wire.send)
    both = calls(coalescer, "a", "b")
    await wire.departures.acquire()
    wire.answers[0].set_result(["A"])
    assert all(
        isinstance(error, TransportConnectionError) for error in await asyncio.gather(*both, return_exceptions=True)
    )


async def test_a_cancelled_caller_takes_nobody_along(wire):
    coalescer = Coalescer(wire.send)
    stays, leaves = calls(coalescer, "a", "b")
    await wire.departures.acquire()
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    wire.land(0)
    assert await stays == "A"


async def test_what_nobody_waits_for_is_not_sent(wire):
    coalescer = Coalescer(wire.send, spacing_ms=60_000)
    (first,) = calls(coalescer, "a")
    await wire.departures.acquire()
    leaves, stays = calls(coalescer, "b", "c")
    await asyncio.sleep(0)
    leaves.cancel()
    wire.land(0)
    await wire.departures.acquire()
    assert wire.sent == [["a"], ["c"]]
    wire.land(1)
    assert await asyncio.gather(first, stays) == ["A", "C"]


async def test_callers_wait_for_room_in_the_buffer(wire, monkeypatch):
    monkeypatch.setattr(coalescing, "BUFFER_ITEMS", 2)
    coalescer = Coalescer(wire.send, batch_items=2, flights=1, spacing_ms=60_000)
    first = calls(coalescer, "a")
    await wire.departures.acquire()
    rest = calls(coalescer, "b", "c", "d")
    await asyncio.sleep(0)
    assert coalescer.waiting == 2
    for flight in range(3):
        wire.land(flight)
        if flight < 2:
            await wire.departures.acquire()
    assert await asyncio.gather(*first, *rest) == ["A", "B", "C", "D"]


async def test_drain_returns_when_all_is_answered(wire):
    coalescer = Coalescer(wire.send)
    (call,) = calls(coalescer, "a")
    await wire.departures.acquire()
    draining = asyncio.ensure_future(coalescer.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    wire.land(0)
    await draining
    assert await call == "A"


async def test_closing_tells_every_caller(wire):
    coalescer = Coalescer(wire.send, spacing_ms=60_000)
    flying = calls(coalescer, "a")
    await wire.departures.acquire()
    waiting = calls(coalescer, "b")
    await asyncio.sleep(0)
    coalescer.close()
    sent, unsent = await asyncio.gather(*flying, *waiting, return_exceptions=True)
    assert "unknown" in str(sent)
    assert "nothing was changed" in str(unsent)
    with pytest.raises(TransportConnectionError, match="closed"):
        await coalescer.call("c", 1)

"""The clock that stands still."""

import asyncio

import pytest

from osqueue_testing.clock import StandingClock

START_MS = 1_800_000_000_000


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(START_MS)


def test_it_is_moved_and_never_goes_back(clock: StandingClock) -> None:
    assert (clock.wall_ms(), clock.monotonic_ms()) == (START_MS, 0)
    clock.move_to(START_MS + 5)
    clock.move_to(START_MS + 3)
    assert (clock.wall_ms(), clock.monotonic_ms()) == (START_MS + 5, 5)


def test_timers_fire_in_order_once_they_are_due(clock: StandingClock) -> None:
    fired: list[int] = []
    for delay_ms in (30, 10, 20):
        clock.call_later_ms(delay_ms, lambda delay_ms=delay_ms: fired.append(delay_ms))
    clock.call_later_ms(15, lambda: fired.append(15)).cancel()
    clock.move_to(START_MS + 9)
    assert fired == []
    clock.move_to(START_MS + 20)
    assert fired == [10, 20]
    clock.move_to(START_MS + 100)
    assert fired == [10, 20, 30]


def test_it_knows_when_the_next_timer_is_due(clock: StandingClock) -> None:
    assert clock.next_ms() is None
    clock.call_later_ms(5, lambda: None).cancel()
    assert clock.next_ms() is None
    clock.call_later_ms(7.2, lambda: None)
    assert clock.next_ms() == START_MS + 8


async def test_a_sleep_ends_when_time_is_moved(clock: StandingClock) -> None:
    await clock.sleep_ms(0)
    sleeping = asyncio.ensure_future(clock.sleep_ms(10))
    await asyncio.sleep(0)
    clock.move_to(START_MS + 9)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.move_to(START_MS + 10)
    await sleeping


async def test_a_sleep_that_is_cancelled_leaves_no_timer(clock: StandingClock) -> None:
    sleeping = asyncio.ensure_future(clock.sleep_ms(10))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert clock.next_ms() is None


async def test_work_has_a_limit_in_its_time(clock: StandingClock) -> None:
    assert await clock.within_ms(10, asyncio.sleep(0, "done")) == "done"
    endless = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(clock.within_ms(10, endless))
    while clock.next_ms() is None:
        await asyncio.sleep(0)
    clock.move_to(START_MS + 10)
    with pytest.raises(TimeoutError):
        await waiting
    assert endless.cancelled()

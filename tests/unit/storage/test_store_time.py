"""What the dates of a store's answers tell about the time there."""

import pytest

from osqueue_service.storage.store_time import ANSWERS, StoreTime
from tests.unit.storage.manual_clock import ManualClock

NOON = "Mon, 30 Nov 2026 12:00:00 GMT"
NOON_MS = 1_796_040_000_000
DAY_EARLIER = "Sun, 29 Nov 2026 12:00:00 GMT"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def there(clock: ManualClock) -> StoreTime:
    return StoreTime(clock)


def test_before_any_answer_nothing_is_known(there: StoreTime) -> None:
    assert there.now_ms() is None


async def test_it_goes_on_from_the_date_of_an_answer(there: StoreTime, clock: ManualClock) -> None:
    there.answered(NOON)
    await clock.advance_ms(2_500)
    assert there.now_ms() == NOON_MS + 2_500


async def test_our_own_wall_clock_is_not_asked(there: StoreTime, clock: ManualClock) -> None:
    there.answered(NOON)
    clock.set_wall_ms(0)
    assert there.now_ms() == NOON_MS


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Mon, 30 Nov 99999 12:00:00 GMT", "Mon, 31 Feb 2026 12:00:00 GMT"]
)
def test_a_date_that_cannot_be_read_tells_nothing(there: StoreTime, date: str | None) -> None:
    there.answered(date)
    assert there.now_ms() is None


def test_one_machine_of_the_store_that_lives_in_the_past_changes_nothing(there: StoreTime) -> None:
    there.answered(NOON)
    there.answered(DAY_EARLIER)
    assert there.now_ms() == NOON_MS


async def test_one_that_lived_in_the_future_is_forgotten(there: StoreTime, clock: ManualClock) -> None:
    there.answered("Fri, 30 Nov 2046 12:00:00 GMT")
    for second in range(ANSWERS):
        there.answered(f"Mon, 30 Nov 2026 12:00:{second:02} GMT")
        await clock.advance_ms(1_000)
    assert there.now_ms() == NOON_MS + ANSWERS * 1_000


async def test_a_machine_that_slept_is_told_the_time_by_the_next_answer(there: StoreTime) -> None:
    """Its monotonic clock stood still meanwhile."""
    there.answered(DAY_EARLIER)
    there.answered(NOON)
    assert there.now_ms() == NOON_MS

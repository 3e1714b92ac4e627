"""A broker whose clock is far ahead of the store's does not lead, and no leader stamps what is further ahead."""

import asyncio
import logging
import re

import pytest

from osqueue_service.broker import Role
from osqueue_service.errors import ClockAhead
from osqueue_service.leadership.guarded_clock import CLOCK_AHEAD_LIMIT_MS, GuardedClock
from osqueue_service.limits import DAY_MS, HOUR_MS, MINUTE_MS
from osqueue_service.log.paths import ROOT
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import pass_ms
from tests.unit.life import Life
from tests.unit.log.virtual import VirtualClock, run

YEARS_MS = 4 * 365 * DAY_MS


def there_ms() -> int:
    """The time by the store's clock."""
    return VirtualClock().wall_ms()


def ahead_by(ahead_ms: int) -> VirtualClock:
    clock = VirtualClock()
    clock.wall_offset_ms += ahead_ms
    return clock


def life_ahead_by(ahead_ms: int, bucket: MemoryBucket, name: str = "a", *, sole_owner: bool = False) -> Life:
    return Life(bucket, name, clock=ahead_by(ahead_ms), store_time=there_ms, sole_owner=sole_owner)


def queue_time(life: Life) -> int:
    return life.broker.engine.now_ms()


@pytest.mark.parametrize("ahead_ms", [-YEARS_MS, 0, CLOCK_AHEAD_LIMIT_MS])
def test_within_the_limit_it_leads(ahead_ms: int) -> None:
    async def scenario() -> None:
        life = await life_ahead_by(ahead_ms, MemoryBucket()).lead()
        assert queue_time(life) == there_ms() + ahead_ms

    run(scenario())


def test_beyond_it_it_stands_by_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = life_ahead_by(CLOCK_AHEAD_LIMIT_MS + 1_000, bucket)
        with caplog.at_level(logging.CRITICAL):
            await life.broker.start()
            await pass_ms(60_000)
        assert life.roles[-1] is Role.CLOCK_AHEAD
        assert bucket.get(ROOT) is None, "nothing was written"
        (said,) = [record.getMessage() for record in caplog.records]
        assert re.search(
            r"the clock of this machine says 2023-11-14T22:18:21Z, that of memory 2023-11-14T22:13:20Z: "
            r"it is 5 min 1 s ahead.*NTP",
            said,
        )
        with pytest.raises(Exception, match="cannot take over: the clock of this machine says"):
            _ = life.broker.engine

    run(scenario())


def test_it_leads_once_its_clock_is_set() -> None:
    async def scenario() -> None:
        clock = ahead_by(YEARS_MS)
        life = Life(MemoryBucket(), "a", clock=clock, store_time=there_ms)
        await life.broker.start()
        await pass_ms(10_000)
        assert not life.broker.is_leader
        clock.wall_offset_ms -= YEARS_MS
        await life.broker.leading()
        assert queue_time(life) == there_ms()

    run(scenario())


def test_another_broker_takes_the_queue_over() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await life_ahead_by(0, bucket).lead()
        wrong = life_ahead_by(YEARS_MS, bucket, "b")
        await wrong.broker.start()
        right = life_ahead_by(0, bucket, "c")
        await right.broker.start()
        job = await first.submit()
        await pass_ms(20_000)
        assert wrong.broker.followed == 0, "no leader would leave the queue to it"
        first.freeze()
        await right.broker.leading()
        assert right.knows(job) and wrong.roles[-1] is Role.CLOCK_AHEAD

    run(scenario())


@pytest.mark.parametrize("sole_owner", [False, True])
def test_whoever_cannot_wait_is_told(sole_owner: bool) -> None:
    async def scenario() -> None:
        life = life_ahead_by(400 * DAY_MS, MemoryBucket(), sole_owner=sole_owner)
        with pytest.raises(ClockAhead, match="it is 400 d 0 h ahead"):
            await life.broker.start(stand_by=False)

    run(scenario())


def test_a_leader_whose_clock_is_set_years_ahead_stamps_no_further_than_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Queue time follows a jump slowly, so it takes hours to see it."""

    async def scenario() -> None:
        clock = ahead_by(0)
        life = await Life(MemoryBucket(), "a", clock=clock, store_time=there_ms).lead()
        clock.wall_offset_ms += YEARS_MS
        last = 0
        for _ in range(20):
            await pass_ms(15 * MINUTE_MS)
            now = queue_time(life)
            assert last < now <= there_ms() + CLOCK_AHEAD_LIMIT_MS
            last = now
        assert there_ms() + CLOCK_AHEAD_LIMIT_MS - last < 2
        clock.wall_offset_ms -= YEARS_MS
        await pass_ms(HOUR_MS)
        await asyncio.sleep(0)
        queue_time(life)
        await pass_ms(HOUR_MS)
        assert abs(queue_time(life) - there_ms()) < 2, "and it comes back"

    with caplog.at_level(logging.ERROR):
        run(scenario())
    assert any("goes by the store's clock meanwhile" in record.getMessage() for record in caplog.records)


def test_where_the_store_has_no_clock_of_its_own_the_wall_clock_is_taken_as_it_is() -> None:
    async def scenario() -> None:
        clock = ahead_by(YEARS_MS)
        guarded = GuardedClock(clock, lambda: None, "memory")
        assert guarded.find_fault() is None and guarded.ahead_ms is None
        assert guarded.wall_ms() == clock.wall_ms()
        life = await Life(MemoryBucket(), "a", clock=clock).lead()
        assert queue_time(life) == clock.wall_ms()

    run(scenario())

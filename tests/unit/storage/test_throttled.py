"""Throttling delays and counts; it never refuses."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from osqueue_service.errors import ConfigError
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.throttled import Throttle, ThrottledStore, ThrottleLimits, undelayed
from tests.unit.storage.manual_clock import ManualClock, settle

MIDNIGHT_MS = 20_000 * 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MIDNIGHT_MS)


@pytest.fixture
def throttled(clock: ManualClock) -> Callable[..., ThrottledStore]:
    def build(**limits: int) -> ThrottledStore:
        return ThrottledStore(MemoryStore(), Throttle(ThrottleLimits(**limits), clock))

    return build


async def done_by(clock: ManualClock, work: Coroutine[Any, Any, Any]) -> float:
    """How many milliseconds pass on the clock until `work` is done."""
    started_ms = clock.monotonic_ms()
    task = asyncio.ensure_future(work)
    await settle(1_000)
    while not task.done():
        await clock.advance_ms(1)
        assert clock.monotonic_ms() - started_ms < 200_000
    await task
    return clock.monotonic_ms() - started_ms


async def puts(store: ThrottledStore, count: int, name: str = "key") -> None:
    for number in range(count):
        await store.put_if_absent(f"{name}/{number}", b"x")


async def test_without_limits_nothing_waits(throttled: Callable[..., ThrottledStore], clock: ManualClock) -> None:
    store = throttled()
    assert not ThrottleLimits().any
    assert await done_by(clock, puts(store, 500)) == 0
    for _ in range(500):
        await store.read("key/1")
    assert (store.stats.total_writes, store.stats.total_reads) == (500, 500)
    assert (store.stats.throttled_writes, store.stats.throttled_reads) == (0, 0)
    assert not store.stats.daily_budget_exceeded


@pytest.mark.parametrize(
    ("per_minute", "burst", "spacing_ms"), [(600, 10, 100), (60, 1, 1_000), (30, 1, 2_000), (1_200, 20, 50)]
)
async def test_above_the_burst_writes_are_spaced_by_the_rate(
    throttled: Callable[..., ThrottledStore], clock: ManualClock, per_minute: int, burst: int, spacing_ms: int
) -> None:
    store = throttled(writes_per_minute=per_minute)
    assert await done_by(clock, puts(store, burst)) == 0
    assert await done_by(clock, puts(store, 3, "more")) == pytest.approx(3 * spacing_ms, abs=3)
    assert store.stats.throttled_writes == 3
    assert store.stats.total_write_delay_ms == pytest.approx(3 * spacing_ms, abs=6)
    assert store.stats.total_writes == burst + 3


async def test_tokens_come_back_but_never_above_the_burst(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_minute=600)
    await puts(store, 10)
    await clock.advance_ms(3_600_000)
    assert await done_by(clock, puts(store, 10, "again")) == 0
    assert await done_by(clock, puts(store, 1, "more")) == pytest.approx(100, abs=1)


async def test_reads_and_listings_share_their_own_limit(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(reads_per_minute=60)
    assert await done_by(clock, store.read("a")) == 0
    assert await done_by(clock, store.list_after("", "", 1)) == pytest.approx(1_000, abs=1)
    assert await done_by(clock, puts(store, 100)) == 0
    assert (store.stats.total_reads, store.stats.throttled_reads) == (2, 1)
    assert store.stats.total_read_delay_ms == pytest.approx(1_000, abs=1)


async def test_deletes_cost_nothing(throttled: Callable[..., ThrottledStore], clock: ManualClock) -> None:
    store = throttled(writes_per_minute=1, writes_per_day=1)
    for _ in range(50):
        assert await done_by(clock, store.delete("a")) == 0
    assert store.stats.total_writes == 0


async def test_writes_pass_at_once_until_the_days_budget_is_spent(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_minute=60, writes_per_day=100)
    assert await done_by(clock, puts(store, 99)) == 0
    assert not store.stats.daily_budget_exceeded
    assert await done_by(clock, puts(store, 1, "last")) == 0
    assert store.stats.daily_budget_exceeded
    assert store.stats.throttled_writes == 0
    assert await done_by(clock, puts(store, 1, "burst")) == 0
    assert await done_by(clock, puts(store, 2, "above")) == pytest.approx(2_000, abs=2)
    assert store.stats.daily_write_count == 103
    assert store.stats.throttled_writes == 2
    figures = {
        (family.name, *labels.values()): value
        for family in store.stats.families()
        for _, labels, value in family.samples
    }
    assert figures["osqueue_store_throttled_total", "write"] == 2
    assert figures["osqueue_store_throttle_delay_seconds_total", "write"] == pytest.approx(2, abs=0.01)
    assert figures["osqueue_store_daily_budget_exceeded",] == 1


async def test_a_spent_budget_without_a_rate_only_says_so(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_day=2)
    assert await done_by(clock, puts(store, 50)) == 0
    assert store.stats.daily_budget_exceeded


async def test_midnight_utc_brings_a_new_budget_and_wakes_who_waits(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    clock.set_wall_ms(MIDNIGHT_MS - 5_000)
    store = throttled(writes_per_minute=1, writes_per_day=1)
    await puts(store, 2)
    assert store.stats.daily_budget_exceeded
    waiting = asyncio.ensure_future(puts(store, 1, "waiting"))
    await clock.advance_ms(4_999)
    assert not waiting.done()
    await clock.advance_ms(1)
    await waiting
    assert store.stats.daily_write_count == 1
    await clock.advance_ms(86_400_000)
    assert store.stats.daily_write_count == 0
    assert not store.stats.daily_budget_exceeded


async def test_a_clock_set_back_opens_no_second_budget(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_minute=60, writes_per_day=2)
    await puts(store, 2)
    clock.set_wall_ms(MIDNIGHT_MS - 1)
    assert store.stats.daily_budget_exceeded
    assert store.stats.daily_write_count == 2


async def test_undelayed_requests_are_counted_and_never_wait_nor_make_others_wait(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_minute=60, reads_per_minute=60, writes_per_day=3)
    urgent = undelayed(store)
    assert isinstance(urgent, ThrottledStore)
    assert await done_by(clock, puts(urgent, 50, "urgent")) == 0
    for _ in range(50):
        assert await done_by(clock, urgent.read("urgent/1")) == 0
    assert (store.stats.total_writes, store.stats.total_reads) == (50, 50)
    assert store.stats.daily_write_count == 50
    assert store.stats.daily_budget_exceeded
    assert store.stats.throttled_writes == 0
    # The bucket is still full for those that may be delayed.
    assert await done_by(clock, puts(store, 1)) == 0
    assert await done_by(clock, store.read("key/0")) == 0
    assert urgent.stats == store.stats


async def test_who_comes_first_goes_first_and_who_leaves_gives_its_turn_back(
    throttled: Callable[..., ThrottledStore], clock: ManualClock
) -> None:
    store = throttled(writes_per_minute=60)
    order: list[str] = []

    async def put(name: str) -> None:
        await store.put_if_absent(name, b"x")
        order.append(name)

    await put("at-once")
    first, second, third = (asyncio.ensure_future(put(name)) for name in ("first", "second", "third"))
    await clock.advance_ms(500)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await clock.advance_ms(3_000)
    assert first.done()
    assert third.done()
    assert order == ["at-once", "first", "third"]
    assert store.stats.total_writes == 3
    # Three and a half seconds gave three tokens and a half; two were used, one came back.
    assert await done_by(clock, put("later")) == 0


def test_what_is_not_throttled_is_its_own_undelayed_view() -> None:
    store = MemoryStore()
    assert undelayed(store) is store


@pytest.mark.parametrize("name", ["reads_per_minute", "writes_per_minute", "writes_per_day"])
def test_a_negative_limit_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"S3_MAX_{name.upper()}"):
        ThrottleLimits(**{name: -1})

"""When commits start: at once when idle, in company under load."""

import pytest

from osqueue_service.engine.inbox import LINGER_MS, SPACING_MIN_MS, Pacing
from osqueue_service.engine.settings import EngineSettings
from tests.unit.storage.manual_clock import ManualClock

PUT_MS = 100.0
DEPTH = 4
SPACING_MS = PUT_MS / DEPTH


class Lane:
    """A lane whose puts take `PUT_MS`."""

    next_sequence = 1
    room = True
    depth = DEPTH

    def __init__(self) -> None:
        self.in_flight = 0
        self.latency_ms = PUT_MS


class Bench:
    """Changes that arrive at moments given by hand."""

    def __init__(self, interval_ms: int = 50, spacing_ms: int = 0) -> None:
        self.clock = ManualClock()
        self.lane = Lane()
        self.calls = 0
        self.pacing = Pacing(self.lane, EngineSettings(interval_ms, spacing_ms))  # type: ignore[arg-type]

    def put(self, calls: int = 2) -> None:
        self.pacing.put(self.clock.monotonic_ms())
        self.calls += calls
        self.lane.in_flight += 1

    async def arrive(self, *after_ms: float) -> None:
        """Changes that arrive so long after each other."""
        for pause_ms in after_ms:
            await self.clock.advance_ms(pause_ms)
            self.pacing.arrived(self.clock.monotonic_ms())

    def waits_ms(self) -> float:
        return max(0.0, self.pacing.company_ms(self.calls, self.clock.monotonic_ms()))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_an_idle_queue_commits_at_once(bench: Bench) -> None:
    await bench.arrive(0)
    assert bench.waits_ms() == 0
    bench.put()
    bench.lane.in_flight = 0
    await bench.arrive(1)
    assert bench.waits_ms() == 0


async def test_beside_a_put_under_way_the_next_starts_after_its_share_of_a_put(bench: Bench) -> None:
    bench.put()
    await bench.arrive(1)
    assert bench.waits_ms() == SPACING_MS - 1
    await bench.clock.advance_ms(SPACING_MS - 1)
    assert bench.waits_ms() == 0


async def test_a_put_that_may_start_waits_while_callers_keep_coming(bench: Bench) -> None:
    bench.put()
    await bench.arrive(SPACING_MS)
    assert bench.waits_ms() == LINGER_MS
    await bench.arrive(1)
    assert bench.waits_ms() == LINGER_MS
    await bench.clock.advance_ms(LINGER_MS)
    assert bench.waits_ms() == 0


async def test_it_waits_no_longer_than_one_more_share_however_many_come(bench: Bench) -> None:
    bench.put()
    await bench.arrive(SPACING_MS, *[1] * int(SPACING_MS - 1))
    assert bench.waits_ms() == 1
    await bench.arrive(1)
    assert bench.waits_ms() == 0


async def test_on_a_fast_store_commits_keep_their_least_distance(bench: Bench) -> None:
    bench.lane.latency_ms = 0.5
    bench.put()
    await bench.arrive(0)
    assert bench.waits_ms() == SPACING_MIN_MS


@pytest.mark.parametrize("others", [0, 1])
async def test_a_lone_caller_beside_what_the_queue_does_by_itself_waits_for_nobody(bench: Bench, others: int) -> None:
    bench.lane.latency_ms = 4
    bench.put(others)
    await bench.arrive(0.5)
    assert bench.waits_ms() == 0.5
    await bench.arrive(0.5)
    assert bench.waits_ms() == 0


async def test_on_a_slow_store_no_change_waits_longer_than_fifty_milliseconds(bench: Bench) -> None:
    bench.lane.latency_ms = 10_000
    bench.put()
    await bench.arrive(10)
    assert bench.waits_ms() == 50


@pytest.mark.parametrize("interval_ms", [0, 1, 49, 50, 51, 1_000])
async def test_whatever_the_interval_a_lone_change_waits_for_nobody(interval_ms: int) -> None:
    bench = Bench(interval_ms)
    bench.put(calls=1)
    bench.lane.in_flight = 0
    await bench.arrive(1)
    assert bench.waits_ms() == 0


@pytest.mark.parametrize("interval_ms", [0, 1, 49, 51, 200])
async def test_the_interval_bounds_the_wait_for_company(interval_ms: int) -> None:
    bench = Bench(interval_ms)
    bench.lane.latency_ms = 10_000
    bench.put()
    await bench.arrive(10)
    assert bench.waits_ms() == interval_ms


async def test_a_spacing_holds_back_a_lone_change_too() -> None:
    bench = Bench(spacing_ms=1_000)
    bench.put()
    bench.lane.in_flight = 0
    await bench.arrive(400)
    assert bench.waits_ms() == 600
    await bench.clock.advance_ms(600)
    assert bench.waits_ms() == 0


async def test_a_spacing_is_not_cut_short_by_the_interval() -> None:
    bench = Bench(interval_ms=50, spacing_ms=200)
    bench.put()
    await bench.arrive(10)
    assert bench.waits_ms() == 190

"""Queue time follows the monotonic clock, and is led to the wall clock gently and without passing it."""

import pytest

from osqueue_service.engine.timing import QueueTime

HOUR_MS = 3_600_000


class TwoClocks:
    """A wall clock and a monotonic one, moved apart by hand."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000_000
        self.monotonic = 5_000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> float:
        return self.monotonic

    def pass_ms(self, elapsed: int) -> None:
        self.wall += elapsed
        self.monotonic += elapsed


@pytest.fixture
def clocks() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def time(clocks: TwoClocks) -> QueueTime:
    return QueueTime(clocks, 0)  # type: ignore[arg-type] - it only reads


@pytest.mark.parametrize("silence_ms", [1, 1_000, HOUR_MS, 30 * 24 * HOUR_MS])
def test_however_long_nobody_asked_it_is_the_wall_clocks(time: QueueTime, clocks: TwoClocks, silence_ms: int) -> None:
    for _ in range(3):
        clocks.pass_ms(silence_ms)
        assert time.now_ms() == clocks.wall


def test_it_begins_at_the_last_stamp_of_a_leader_whose_clock_was_ahead(clocks: TwoClocks) -> None:
    assert QueueTime(clocks, clocks.wall + 700).now_ms() == clocks.wall + 700  # type: ignore[arg-type]


@pytest.mark.parametrize("jump_ms", [10_000, -10_000])
def test_a_jump_of_the_wall_clock_is_followed_by_one_part_in_twenty(
    time: QueueTime, clocks: TwoClocks, jump_ms: int
) -> None:
    before = time.now_ms()
    clocks.wall += jump_ms
    clocks.pass_ms(1_000)
    assert time.now_ms() - before == (1_050 if jump_ms > 0 else 950)


@pytest.mark.parametrize("jump_ms", [10_000, -10_000, 300, -300])
@pytest.mark.parametrize("step_ms", [20, 1_000, HOUR_MS])
def test_it_comes_to_the_wall_clock_and_not_beyond(
    time: QueueTime, clocks: TwoClocks, jump_ms: int, step_ms: int
) -> None:
    clocks.wall += jump_ms
    last, offset = time.now_ms(), abs(jump_ms)
    for _ in range(500_000 // step_ms + 1):
        clocks.pass_ms(step_ms)
        now = time.now_ms()
        assert now >= last
        now_off = clocks.wall - now
        assert abs(now_off) <= offset + 1 and now_off * jump_ms >= -abs(jump_ms)
        last, offset = now, abs(now_off)
    assert offset <= 1


def test_it_never_falls(time: QueueTime, clocks: TwoClocks) -> None:
    last = time.now_ms()
    for step in range(1_000):
        clocks.wall += (step * 7_919) % 2_001 - 1_000
        clocks.monotonic += step % 3
        now = time.now_ms()
        assert now >= last
        last = now

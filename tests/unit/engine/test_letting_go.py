"""Caps hold under any load, and what has lapsed leaves soon, however much it is. All in virtual time, by counting."""

from dataclasses import replace

from osqueue_service.engine.due import MORE_MS
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.limits import DEFAULT_LIMITS, SECOND_MS
from osqueue_service.state.commands import Cancel
from osqueue_service.state.due import LET_GO
from osqueue_service.state.model import Status
from tests.unit.engine.bench import Bench, on_bench

SMALL = replace(DEFAULT_LIMITS, sweep_jobs=10)
SWEPT = SMALL.sweep_jobs * LET_GO


async def finish(bench: Bench, count: int) -> None:
    await bench.engine.execute(Cancel(await bench.submit(count)))


def test_a_cap_is_held_while_far_more_finishes_in_a_commit_than_sweep_jobs():
    async def test(bench: Bench) -> None:
        for _ in range(40):
            await finish(bench, SWEPT // 2)
            assert len(bench.state.retention) <= 100 + SWEPT
        bench.check_log()

    on_bench(test, limits=replace(SMALL, finished_jobs=100))


def test_far_above_a_cap_a_queue_that_is_idle_does_not_wait_for_its_next_commit():
    async def test(bench: Bench) -> None:
        for _ in range(10):
            await finish(bench, SWEPT)
        bench.engine._due._limits = small = replace(SMALL, finished_jobs=100)  # as after a restart
        bench.engine._execution._limits = small
        bench.engine._due._pressing_limits = replace(small, finished_jobs=100 + SWEPT)
        await finish(bench, 1)
        await bench.pass_ms(2 * SECOND_MS)
        assert len(bench.state.retention) <= 100 + SWEPT

    on_bench(test, limits=SMALL)


def test_a_queue_at_its_cap_pays_no_commit_for_each_job_that_leaves():
    async def test(bench: Bench) -> None:
        await finish(bench, 100)
        commits = len(bench.lane.bodies)
        for _ in range(20):
            await finish(bench, 1)
            await bench.pass_ms(500)
        assert len(bench.lane.bodies) == commits + 40, "a submit and a cancel each"

    on_bench(test, limits=replace(SMALL, finished_jobs=100))


def test_when_idle_all_that_has_lapsed_leaves_within_seconds_and_few_commits():
    """100,000 finished jobs took 400 minutes, at 250 a minute."""

    async def test(bench: Bench) -> None:
        for _ in range(25):
            await finish(bench, SWEPT)
        await bench.pass_ms(SMALL.default_retention_ms + EngineSettings().lapse_interval_ms)
        commits = len(bench.lane.bodies)
        await bench.pass_ms(26 * MORE_MS)
        assert not bench.state.retention
        assert len(bench.lane.bodies) - commits <= 26
        bench.check_log()

    on_bench(test, limits=SMALL)


def test_where_commits_are_far_apart_each_sweeps_more():
    """A million leases that end together took 67 minutes with commits a second apart."""

    async def test(bench: Bench) -> None:
        await bench.submit(1_000, lease_ms=1_000)
        for _ in range(10):
            await bench.claim(max_jobs=100)
        await bench.pass_ms(2_000)
        commits = len(bench.lane.bodies)
        await bench.pass_ms(7_000)
        assert bench.state.count(Status.IN_PROGRESS) == 0
        assert len(bench.lane.bodies) - commits <= 6

    on_bench(test, limits=SMALL, settings=EngineSettings(commit_spacing_ms=1_000))

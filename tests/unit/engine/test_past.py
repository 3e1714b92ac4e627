"""The queue as it was: any moment within the retention is built exactly, and others are refused."""

import pytest

from osqueue_service.engine.past import NotCovered, Past, read_past
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import CorruptObject
from osqueue_service.log import LogCounters, Settler
from osqueue_service.log.paths import RESTORE_PREFIX, parse_restore_key, segment_key
from osqueue_service.state import image
from tests.lived_queue import MINUTE, LivedQueue
from tests.unit.log.virtual import SeededIds, run

RETENTION = 120 * MINUTE
SEEDS = range(6)


class Queue(LivedQueue):
    """One that is looked at as it was."""

    def __init__(self, seed: int, retention_ms: int = RETENTION) -> None:
        super().__init__(seed, retention_ms)

    async def at(self, moment_ms: int) -> tuple[Past, list[bytes]]:
        rebuild = Rebuild()
        settler = Settler(self.store, self.clock, SeededIds(1), LogCounters())
        past = await read_past(settler, rebuild, moment_ms)
        assert isinstance(past, Past)
        return past, image.encode(rebuild.state)

    async def oldest(self) -> int:
        with pytest.raises(NotCovered) as refusal:
            await self.at(0)
        return refusal.value.oldest_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_every_moment_that_is_kept_is_built_exactly(seed: int) -> None:
    async def scenario() -> None:
        queue = Queue(seed)
        await queue.live(50)
        for _ in range(3):
            await queue.checkpoint()
            await queue.clock.sleep_ms(RETENTION // 3)
            queue.change()
            await queue.commit()
        await queue.checkpoint()
        oldest = await queue.oldest()
        assert oldest <= queue.clock.wall_ms() - RETENTION, "all of the retention is covered"
        stamps = sorted(queue.moments)
        for stamp, following in zip(stamps, [*stamps[1:], stamps[-1] + 10], strict=True):
            if stamp < oldest:
                with pytest.raises(NotCovered):
                    await queue.at(stamp)
                continue
            for moment in {stamp, (stamp + following) // 2, following - 1}:
                past, parts = await queue.at(moment)
                assert parts == queue.moments[stamp], f"as it was at {moment}"
                assert past.stamp_ms == stamp

    run(scenario())


def test_some_of_it_has_lapsed_and_some_is_reached_by_way_of_other_terms() -> None:
    """So that the test above is about something."""

    async def scenario() -> None:
        queue = Queue(3)
        await queue.live(60)
        points = [parse_restore_key(key) for key in queue.bucket.keys_after(RESTORE_PREFIX, "", 99)]
        assert len({point.epoch for point in points if point}) > 1
        assert min(queue.moments) < await queue.oldest()

    run(scenario())


def test_without_a_retention_only_what_is_behind_the_checkpoint_is_reached() -> None:
    async def scenario() -> None:
        queue = Queue(1, retention_ms=0)
        await queue.live(40)
        await queue.checkpoint()
        stamp = queue.core.state.stamp_ms
        queue.core.now_ms += 10
        queue.core.submit()
        await queue.commit()
        assert await queue.oldest() == stamp
        assert (await queue.at(stamp))[1] == queue.moments[stamp]
        assert (await queue.at(stamp + 10))[1] == queue.moments[stamp + 10]

    run(scenario())


def test_a_hole_in_what_was_kept_is_named_and_not_leapt() -> None:
    async def scenario() -> None:
        queue = Queue(5, retention_ms=10**10)
        await queue.lead()
        for _ in range(3):
            for _ in range(3):
                queue.core.now_ms = max(queue.core.now_ms + 5, queue.clock.wall_ms())
                queue.core.submit()
                await queue.commit()
            await queue.checkpoint()
        stamps = sorted(queue.moments)
        lost = segment_key(1, 6)
        queue.bucket.remove(lost)
        assert (await queue.at(stamps[0]))[1] == queue.moments[stamps[0]]
        with pytest.raises(CorruptObject) as damage:
            await queue.at(stamps[4])
        assert damage.value.key == lost
        assert (await queue.at(stamps[-1]))[1] == queue.moments[stamps[-1]], "the queue itself needs none of it"

    run(scenario())


def test_a_damaged_point_is_named_and_passed_over_where_the_log_leads_by_it() -> None:
    async def scenario() -> None:
        queue = Queue(7, retention_ms=10**6)
        await queue.lead()
        for _ in range(3):
            for _ in range(3):
                queue.core.now_ms = max(queue.core.now_ms + 5, queue.clock.wall_ms())
                queue.core.submit()
                await queue.commit()
            await queue.checkpoint()
        first, second, *_ = queue.bucket.keys_after(RESTORE_PREFIX, "", 9)
        stamps = sorted(queue.moments)
        queue.bucket.overwrite(second, b"rubbish")
        for stamp in stamps:
            assert (await queue.at(stamp))[1] == queue.moments[stamp]
        queue.bucket.overwrite(first, b"rubbish")
        with pytest.raises((CorruptObject, NotCovered)) as refusal:
            await queue.at(stamps[0])
        assert first in str(refusal.value) or isinstance(refusal.value.__cause__, CorruptObject)

    run(scenario())

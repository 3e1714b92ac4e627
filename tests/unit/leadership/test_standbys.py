"""Who stands by, as its leader knows it, and for whom it waits before it leaves."""

import asyncio
from collections.abc import Callable

import pytest

from osqueue_service.errors import TooManyRequests
from osqueue_service.leadership import Standby, Standbys
from osqueue_service.leadership.standbys import READY_COMMITS, READY_MORE_PER_S, STUCK_MS
from tests.unit.leadership.brokers import now_ms, pass_ms
from tests.unit.log.virtual import VirtualClock, run

LIMIT_MS = 20_000


def standbys(most: int = 10) -> Standbys:
    return Standbys(VirtualClock(), most)


def awaited(known: Standbys, sequence: Callable[[], int], limit_ms: float = LIMIT_MS) -> "asyncio.Task[Standby | None]":
    """The leader means to leave; it is at `sequence()`."""
    return asyncio.ensure_future(known.successor(sequence, limit_ms))


def test_a_leader_that_nobody_attends_waits_for_nobody() -> None:
    async def scenario() -> None:
        known = standbys()
        assert await known.successor(lambda: 5_000, LIMIT_MS) is None
        assert now_ms() == 0

    run(scenario())


def test_the_standby_that_has_followed_furthest_is_chosen_at_once() -> None:
    async def scenario() -> None:
        known = standbys()
        known.enter("far:1", 10)
        near = known.enter("near:1", 5_000 - READY_COMMITS)
        assert await known.successor(lambda: 5_000, LIMIT_MS) is near
        assert known.chosen is near
        assert now_ms() == 0

    run(scenario())


def test_a_standby_without_a_state_is_not_ready_however_short_the_log_is() -> None:
    async def scenario() -> None:
        known = standbys()
        standby = known.enter("a:1", 0)
        waiting = awaited(known, lambda: 3)
        await pass_ms(500)
        assert not waiting.done()
        known.advance(standby, 3)
        assert await waiting is standby

    run(scenario())


def test_the_leader_waits_for_one_that_catches_up() -> None:
    async def scenario() -> None:
        known = standbys()
        standby = known.enter("a:1", 100)
        waiting = awaited(known, lambda: 50_000)
        assert not known.leaving.is_set()
        await pass_ms(1)
        assert known.leaving.is_set()
        for followed in range(10_000, 50_000, 10_000):
            await pass_ms(3_000)
            known.advance(standby, followed)
            assert not waiting.done()
        known.advance(standby, 50_000)
        assert await waiting is standby
        assert not known.over.is_set()

    run(scenario())


def test_the_longer_it_waits_the_more_may_be_left_to_read() -> None:
    async def scenario() -> None:
        known = standbys()
        behind = READY_COMMITS + 2 * READY_MORE_PER_S
        standby = known.enter("a:1", 1)
        # As fast as the commits that come, and no faster.
        waiting = awaited(known, lambda: standby.followed + behind)
        for _ in range(200):
            await pass_ms(10)
            known.advance(standby, standby.followed + 1)
        assert await waiting is standby
        assert 1_900 < now_ms() <= 2_050

    run(scenario())


def test_it_gives_up_waiting_for_one_that_gets_no_further() -> None:
    async def scenario() -> None:
        known = standbys()
        known.enter("a:1", 1)
        await pass_ms(60_000)  # idle for a long time, and not stuck: there was nothing to read
        assert await known.successor(lambda: 500_000, LIMIT_MS) is None
        assert 60_000 + STUCK_MS <= now_ms() <= 60_000 + STUCK_MS + 1_000

    run(scenario())


def test_it_waits_no_longer_than_its_limit() -> None:
    async def scenario() -> None:
        known = standbys()
        standby = known.enter("a:1", 1)
        waiting = awaited(known, lambda: 500_000)
        while not waiting.done():
            known.advance(standby, standby.followed + 1)
            await pass_ms(100)
        assert waiting.result() is None
        assert LIMIT_MS <= now_ms() <= LIMIT_MS + 100

    run(scenario())


def test_it_waits_no_longer_once_the_last_standby_is_gone_or_the_term_over() -> None:
    async def scenario() -> None:
        known = standbys()
        standby = known.enter("a:1", 1)
        waiting = awaited(known, lambda: 50_000)
        await pass_ms(100)
        known.leave(standby)
        assert await waiting is None
        known = standbys()
        known.enter("a:1", 1)
        waiting = awaited(known, lambda: 50_000)
        await pass_ms(100)
        known.end()
        assert await waiting is None
        assert known.over.is_set()
        assert now_ms() < 300

    run(scenario())


def test_no_more_attend_than_the_limit() -> None:
    async def scenario() -> None:
        known = standbys(most=2)
        first = known.enter("a:1", 0)
        known.enter("b:1", 0)
        with pytest.raises(TooManyRequests, match=r"2 standbys attend.*\(standbys\)"):
            known.enter("c:1", 0)
        known.leave(first)
        known.enter("c:1", 0)
        assert len(known) == 2

    run(scenario())

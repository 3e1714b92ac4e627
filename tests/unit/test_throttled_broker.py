"""A budget for requests delays commits, and never leadership."""

import asyncio
import os

import pytest

from osqueue_service.broker import Role
from osqueue_service.leadership import term
from osqueue_service.log import checkpoints
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.throttled import ThrottleLimits
from tests.unit.leadership.brokers import HEARTBEAT, now_ms, pass_ms, root_of
from tests.unit.life import Life
from tests.unit.log.virtual import run

TINY = ThrottleLimits(reads_per_minute=1, writes_per_minute=6)
"""Less than the renewals and the watching alone: 20 writes and 120 reads a minute."""


def test_commits_wait_and_renewals_do_not() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a", throttle=TINY).lead()
        standby = Life(bucket, "b", throttle=TINY)
        await standby.broker.start()
        began_ms = now_ms()
        submitting = [asyncio.ensure_future(leader.submit()) for _ in range(3)]
        for _ in range(1_200):
            await pass_ms(100)
            assert leader.broker.engine.term.is_live(), "it renews in time, whatever commits have to wait for"
        assert all(job.done() and leader.knows(job.result()) for job in submitting), "delayed, not refused"
        waited_ms = now_ms()
        for _ in range(3):
            await leader.submit()
        assert now_ms() - waited_ms > 15_000, "one in ten seconds"
        assert standby.roles == [Role.STANDBY]
        stats = leader.throttle.stats
        assert stats.throttled_writes >= 3
        assert stats.total_writes >= (now_ms() - began_ms) / HEARTBEAT.interval_ms, "renewals are counted"
        assert standby.throttle.stats.total_reads >= (now_ms() - began_ms) / HEARTBEAT.poll_ms / 1.1, "it watches"
        assert standby.throttle.stats.throttled_reads, "following the log waits: no safety rests on it"

    run(scenario())


def test_a_takeover_does_not_wait() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        jobs = [await leader.submit() for _ in range(40)]
        standby = Life(bucket, "b", throttle=TINY)
        await standby.broker.start()
        await pass_ms(1_000)
        leader.freeze()
        began_ms = now_ms()
        await standby.broker.leading()
        assert now_ms() - began_ms < HEARTBEAT.timeout_ms + HEARTBEAT.poll_ms + 500
        assert all(standby.knows(job) for job in jobs)
        await standby.submit()
        assert standby.throttle.stats.total_reads > 40, "what a recovery reads is counted"
        assert await standby.submit()

    run(scenario())


def test_a_hand_over_does_not_wait() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a", throttle=ThrottleLimits(writes_per_minute=1)).lead()
        await leader.submit()
        began_ms = now_ms()
        await leader.broker.stop()
        assert now_ms() - began_ms < 200
        assert root_of(bucket).broker is None

    run(scenario())


def test_the_parts_of_a_checkpoint_wait_and_the_root_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 100_000)
    monkeypatch.setattr(term, "CHECKPOINT_FLOOR_BYTES", 300_000)

    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a", throttle=ThrottleLimits(writes_per_minute=6)).lead()
        for _ in range(6):
            await leader.submit(os.urandom(60_000))
        while root_of(bucket).checkpoint.form != "objects":
            await pass_ms(100)
            assert leader.broker.engine.term.is_live()
        throttled = leader.throttle.stats.throttled_writes
        assert throttled >= 6 + root_of(bucket).checkpoint.parts - 1
        assert leader.knows(await leader.submit())

    run(scenario())

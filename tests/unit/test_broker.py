"""One broker's life, as its operator and its callers see it, on a clock of its own."""

import asyncio
import logging

import pytest

from osqueue_service.broker import Role
from osqueue_service.broker_metrics import broker_families
from osqueue_service.errors import BrokerLeadershipError, ConfigError, CorruptObject, Deposed, NotLeader, OutcomeUnknown
from osqueue_service.log.paths import ROOT, segment_key
from osqueue_service.metrics import Registry
from osqueue_service.state.commands import Submit
from osqueue_service.state.model import JobSpec
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import HEARTBEAT, TestBroker, now_ms, pass_ms, root_of
from tests.unit.life import Life
from tests.unit.log.virtual import run

STANDBY, RECOVERING, LEADER, STOPPED = Role.STANDBY, Role.RECOVERING, Role.LEADER, Role.STOPPED


def test_a_broker_recovers_before_it_leads() -> None:
    async def scenario() -> None:
        first = Life(MemoryBucket(), "a")
        assert first.broker.role is STOPPED
        first.store.hold(lambda operation, key: operation == "put" and key.startswith("log/"))
        await first.broker.start()
        assert first.broker.role is STANDBY
        await first.store.reached.wait()
        assert first.broker.role is RECOVERING
        assert not first.broker.is_leader
        with pytest.raises(NotLeader, match="recovering"):
            first.broker.engine  # noqa: B018
        first.thaw()
        await first.broker.leading()
        assert first.broker.is_leader
        assert first.broker.epoch == 1
        assert first.broker.leader_address == "a:8081"
        assert first.broker.root.grpc_address == "a:8081"
        assert await first.submit()
        assert first.roles == [STANDBY, RECOVERING, LEADER]

    run(scenario())


def test_a_leader_whose_store_turns_out_unfit_stops_and_says_why() -> None:
    async def scenario() -> None:
        async def watch() -> None:
            await pass_ms(30_000)
            raise ConfigError("this store cannot hold a queue")

        broker = Life(MemoryBucket(), "a", watch=watch)
        await broker.lead()
        await pass_ms(20_000)
        assert broker.broker.is_leader
        assert isinstance(await broker.broker.failed, ConfigError)
        assert broker.broker.role is STOPPED

    run(scenario())


def test_a_standby_names_the_leader() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await Life(bucket, "a").lead()
        standby = Life(bucket, "b")
        await standby.broker.start()
        with pytest.raises(NotLeader, match="no leader is known yet"):
            standby.broker.engine  # noqa: B018
        await pass_ms(60_000)
        assert standby.roles == [STANDBY]
        assert standby.broker.epoch == 1
        assert standby.broker.leader_address == "a:8081"
        with pytest.raises(NotLeader, match="this broker is standby; the leader is a:8081") as refusal:
            standby.broker.engine  # noqa: B018
        assert refusal.value.leader_address == "a:8081"
        with pytest.raises(NotLeader):
            standby.broker.root  # noqa: B018

    run(scenario())


def test_a_candidacy_that_is_lost_leads_back_to_standing_by() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        slow, quick = Life(bucket, "b"), Life(bucket, "c")
        slow.store.hold(lambda operation, key: operation == "swap")
        await slow.broker.start()
        await quick.broker.start()
        leader.freeze()
        await slow.store.reached.wait()
        assert slow.broker.role is RECOVERING
        await quick.broker.leading()
        slow.thaw()
        await pass_ms(1_000)
        assert slow.roles == [STANDBY, RECOVERING, STANDBY]
        assert slow.broker.leader_address == "c:8081"

    run(scenario())


def test_a_deposed_leader_stands_by_and_may_lead_again() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        old = await Life(bucket, "a").lead()
        job = await old.submit()
        engine = old.broker.engine
        successor = Life(bucket, "b")
        await successor.broker.start()
        old.freeze()
        lost = asyncio.ensure_future(old.submit())
        await successor.broker.leading()
        assert successor.knows(job)
        old.thaw()
        with pytest.raises(OutcomeUnknown):
            await lost
        await pass_ms(1_000)
        assert old.broker.role is STANDBY
        assert old.broker.epoch == 2
        with pytest.raises(NotLeader):
            await engine.execute(Submit([JobSpec("t", b"")]))
        with pytest.raises(NotLeader) as refusal:
            await old.submit()
        assert refusal.value.leader_address == "b:8081"
        again = await successor.submit()
        successor.freeze()
        await old.broker.leading()
        assert old.roles == [STANDBY, RECOVERING, LEADER, STANDBY, RECOVERING, LEADER]
        assert old.broker.epoch == 3
        assert old.knows(job)
        assert old.knows(again)

    run(scenario())


def test_a_standby_follows_and_says_how_far(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        standby, cold = Life(bucket, "b"), Life(bucket, "c", follow=False)
        await standby.broker.start()
        await cold.broker.start()
        jobs = [await leader.submit() for _ in range(20)]
        await pass_ms(6_000)
        assert standby.broker.followed == leader.broker.engine.sequence
        assert (cold.broker.followed, leader.broker.followed) == (0, 0)
        metrics = Registry()
        metrics.add(lambda: broker_families(standby.broker))
        assert "osqueue_followed_sequence 22\n" in metrics.render()
        await cold.broker.stop()
        with caplog.at_level(logging.INFO):
            await leader.broker.stop()
            await standby.broker.leading()
        assert caplog.messages[-1].endswith(
            "20 live jobs, recovered from checkpoint 0 and 0 commits behind commit 22, "
            "up to which it had followed the log"
        )
        assert all(standby.knows(job) for job in jobs)
        assert await standby.submit()

    run(scenario())


def test_stopping_hands_over_at_once() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        standby = Life(bucket, "b")
        await standby.broker.start()
        await pass_ms(5_000)
        job = asyncio.ensure_future(leader.submit())
        await pass_ms(1)
        began_ms = now_ms()
        await leader.broker.stop()
        assert leader.broker.role is STOPPED
        assert root_of(bucket).broker is None
        await standby.broker.leading()
        assert now_ms() - began_ms < 1_000
        assert standby.knows(await job), "what was under way was answered before the hand-over"
        await leader.broker.stop()  # once more changes nothing
        await pass_ms(30_000)
        assert leader.roles == [STANDBY, RECOVERING, LEADER, STANDBY, STOPPED]
        assert standby.broker.is_leader

    run(scenario())


def test_a_leader_serves_on_until_a_standby_that_attends_has_caught_up() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        for _ in range(200):
            await leader.submit()
        standbys = leader.broker.standbys
        standby = standbys.enter("b:8081", 1)
        stopping = asyncio.ensure_future(leader.broker.stop())
        await pass_ms(200)
        assert standbys.leaving.is_set()
        assert await leader.submit(), "it is as good a leader as ever"
        standbys.advance(standby, leader.broker.engine.sequence)
        leader.store.hold(lambda operation, key: operation == "swap")
        await leader.store.reached.wait()
        assert not leader.broker.is_leader
        assert not standbys.over.is_set(), "it would look at a root that still names the leader"
        leader.thaw()
        await standbys.over.wait()
        assert root_of(bucket).broker is None
        await stopping

    run(scenario())


def test_a_leader_that_is_deposed_while_it_waits_for_a_standby_waits_no_more() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        for _ in range(200):
            await leader.submit()
        standbys = leader.broker.standbys
        standbys.enter("b:8081", 1)
        stopping = asyncio.ensure_future(leader.broker.stop())
        await pass_ms(100)
        other = TestBroker(bucket, "c")
        await other.elect(skip_wait=True)
        await stopping
        assert standbys.over.is_set()
        assert now_ms() < 2 * HEARTBEAT.interval_ms
        assert root_of(bucket).grpc_address == "c:8081"

    run(scenario())


def test_those_that_attend_a_leader_hear_when_it_loses_its_term() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        standbys = leader.broker.standbys
        await TestBroker(bucket, "c").elect(skip_wait=True)
        await standbys.over.wait()
        with pytest.raises(NotLeader):
            leader.broker.standbys  # noqa: B018

    run(scenario())


def test_a_store_that_does_not_answer_cannot_hold_up_a_stop() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        leader.freeze()
        began_ms = now_ms()
        await leader.broker.stop()
        assert now_ms() - began_ms == pytest.approx(5_000)
        assert leader.broker.role is STOPPED
        standby = await Life(bucket, "b").lead()
        assert standby.broker.epoch == 2

    run(scenario())


@pytest.mark.parametrize("when", ["standing by", "recovering"])
def test_a_broker_that_does_not_lead_stops_too(when: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker = Life(bucket, "a")
        if when == "standing by":
            await Life(bucket, "leader").lead()
            await broker.broker.start()
            await pass_ms(1_000)
        else:
            broker.store.hold(lambda operation, key: key.startswith("log/") and operation == "put")
            await broker.broker.start()
            await broker.store.reached.wait()
        await broker.broker.stop()
        assert broker.roles[-1] is STOPPED
        version = bucket.get(ROOT)
        if when == "recovering":
            await pass_ms(30_000)
            assert bucket.get(ROOT) == version, "a candidacy that was given up renews nothing"

    run(scenario())


def test_stepping_down_lets_another_take_over() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader, standby = await Life(bucket, "a").lead(), Life(bucket, "b")
        await standby.broker.start()
        job = await leader.submit()
        await pass_ms(5_000)
        began_ms = now_ms()
        await leader.broker.step_down()
        assert leader.broker.role is STANDBY
        await standby.broker.leading()
        assert now_ms() - began_ms < 1_000
        assert standby.knows(job)
        await pass_ms(1_000)
        with pytest.raises(NotLeader) as refusal:
            leader.broker.engine  # noqa: B018
        assert refusal.value.leader_address == "b:8081", "it watches from the moment it has stepped down"
        await pass_ms(60_000)
        assert standby.broker.is_leader
        await standby.broker.step_down()
        await leader.broker.leading()
        assert leader.broker.epoch == 3

    run(scenario())


def test_a_caller_that_gives_up_does_not_call_a_hand_over_off() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader, standby = await Life(bucket, "a").lead(), Life(bucket, "b")
        await standby.broker.start()
        await pass_ms(5_000)
        leader.store.hold(lambda operation, key: operation == "swap")
        calling = asyncio.ensure_future(leader.broker.step_down())
        await leader.store.reached.wait()
        calling.cancel()
        await pass_ms(100)
        assert calling.cancelled()
        leader.thaw()
        await standby.broker.leading()
        assert leader.broker.role is STANDBY

    run(scenario())


@pytest.mark.parametrize("sole_owner", [False, True])
def test_stepping_down_without_another_is_a_pause(sole_owner: bool) -> None:
    async def scenario() -> None:
        only = await Life(MemoryBucket(), "a", sole_owner=sole_owner).lead()
        began_ms = now_ms()
        await only.broker.step_down()
        await pass_ms(HEARTBEAT.timeout_ms - 100)
        assert not only.broker.is_leader
        await only.broker.leading()
        assert now_ms() - began_ms < HEARTBEAT.timeout_ms + 1_000
        assert only.broker.epoch == 2

    run(scenario())


def test_a_corrupt_object_stops_the_broker_and_says_which(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        await first.submit()
        await first.broker.stop()
        bucket.overwrite(segment_key(1, 2), b"rubbish")
        second = Life(bucket, "b")
        await second.broker.start()
        with pytest.raises(CorruptObject) as caught:
            await second.broker.leading()
        assert caught.value.key == segment_key(1, 2)
        assert second.broker.failed.result() is caught.value
        assert second.roles == [STANDBY, RECOVERING, STOPPED]
        assert second.broker.role is STOPPED
        (told,) = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
        assert segment_key(1, 2) in told and "run `osqueue verify`" in told
        await second.broker.stop()

    run(scenario())


def test_an_overwritten_root_stops_its_leader() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader = await Life(bucket, "a").lead()
        bucket.overwrite(ROOT, b'{"jobs": []}')
        assert isinstance(await leader.broker.failed, CorruptObject)
        assert leader.roles[-2:] == [STANDBY, STOPPED]

    run(scenario())


def test_a_broker_that_must_not_stand_by_names_who_leads() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await Life(bucket, "a").lead()
        second = Life(bucket, "b")
        with pytest.raises(BrokerLeadershipError, match="a:8081"):
            await second.broker.start(stand_by=False)
        assert second.broker.role is STOPPED
        with pytest.raises(RuntimeError, match="once"):
            await second.broker.start()

    run(scenario())


def test_one_who_was_asked_not_to_stand_by_does_so_once_it_has_led() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first, second = Life(bucket, "a"), Life(bucket, "b")
        await first.broker.start(stand_by=False)
        term = first.broker._term
        assert term is not None
        await second.broker.start()
        first.freeze()
        term.end(Deposed("a test", epoch=2))
        await second.broker.leading()
        first.thaw()
        await pass_ms(30_000)
        assert first.broker.role is STANDBY
        assert not first.broker.failed.done()

    run(scenario())

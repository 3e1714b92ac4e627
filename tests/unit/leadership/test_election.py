"""Standing by and taking over: who may, when, and what the log and the root say afterwards."""

import asyncio
import os

import pytest

from osqueue_service.errors import BrokerLeadershipError, CorruptObject, Fenced, NotLeader, OutcomeUnknown, StoreDenied
from osqueue_service.leadership import Heartbeat
from osqueue_service.log import Fence
from osqueue_service.log.paths import ROOT, checkpoint_key, lane_prefix, segment_key
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import Fault, FaultKind, ScriptedFaults
from tests.unit.leadership.brokers import HEARTBEAT, TestBroker, entry_at, kill, now_ms, pass_ms, root_of
from tests.unit.log.virtual import run


def on_root(operation: Operation, key: str) -> bool:
    return key == ROOT and operation in (Operation.PUT_IF_ABSENT, Operation.PUT_IF_VERSION)


def on_log(operation: Operation, key: str) -> bool:
    return key.startswith("log/") and operation is Operation.PUT_IF_ABSENT


# --- first start ---


def test_a_new_queue_is_led_at_once() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker = TestBroker(bucket, "a")
        term = await broker.elect()
        assert now_ms() < 100
        assert term.epoch == 1
        assert term.is_live()
        root = root_of(bucket)
        assert (root.broker, root.grpc_address, root.checkpoint.form) == ("http://a:8080", "a:8081", "empty")
        assert isinstance(entry_at(bucket, 0, 1), Fence)
        assert await term.appender.append(b"x", 1) == 2
        assert broker.state.begun == 1

    run(scenario())


def test_two_that_start_at_once_become_one_leader_and_one_standby() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        brokers = [TestBroker(bucket, name) for name in "ab"]
        elections = [asyncio.ensure_future(broker.elect()) for broker in brokers]
        await pass_ms(60_000)
        assert sorted(election.done() for election in elections) == [False, True]
        standby = brokers[[election.done() for election in elections].index(False)]
        leader = brokers[1 - brokers.index(standby)]
        assert standby.elector.leader == root_of(bucket).grpc_address
        assert standby.elector.leader_epoch == 1
        assert leader.elector.counters.takeovers == 1

    run(scenario())


def test_a_log_without_a_root_refuses_the_start() -> None:
    async def scenario() -> None:
        for key in (segment_key(0, 1), "checkpoints/0000000000000007-0000000002/00000"):
            bucket = MemoryBucket()
            bucket.overwrite(key, b"left")
            with pytest.raises(CorruptObject, match=r"queue\.json: it is missing"):
                await TestBroker(bucket, "a").elect()

    run(scenario())


def test_a_root_that_appears_while_a_new_queue_is_looked_at_is_respected() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        late = TestBroker(bucket, "b")
        late.store.hold(lambda operation, key: operation == "list")
        election = asyncio.ensure_future(late.elect())
        await late.store.reached.wait()
        await TestBroker(bucket, "a").elect()
        late.store.go.set()
        await pass_ms(30_000)
        assert not election.done()

    run(scenario())


# --- watching ---


def test_a_standby_waits_while_the_root_changes_whatever_wall_clocks_say() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        leader, standby = TestBroker(bucket, "a"), TestBroker(bucket, "b")
        await leader.elect()
        standby.elector._settler.clock.wall_offset_ms = 0  # type: ignore[attr-defined]
        election = asyncio.ensure_future(standby.elect())
        await pass_ms(120_000)
        assert not election.done()

    run(scenario())


def test_a_silent_leader_is_deposed_after_a_full_timeout_and_not_before() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        await pass_ms(7_000)  # last renewed at about 6,000
        kill(term)
        election = asyncio.ensure_future(TestBroker(bucket, "b").elect())
        began_ms = now_ms()
        await pass_ms(HEARTBEAT.timeout_ms)
        assert not election.done(), "a standby that starts late has seen nothing of the silence before"
        successor = await election
        assert HEARTBEAT.timeout_ms <= now_ms() - began_ms <= HEARTBEAT.timeout_ms + HEARTBEAT.poll_ms + 200
        assert successor.epoch == 2
        assert not term.is_live()

    run(scenario())


def test_reads_that_do_not_arrive_are_no_sign_of_death() -> None:
    """Between two answers lies a minute without any: what the leader did in it is not known."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        await TestBroker(bucket, "a").elect()
        standby = TestBroker(bucket, "b")
        election = asyncio.ensure_future(standby.elect())
        await pass_ms(1_000)
        standby.store.hold(lambda operation, key: operation == "read")
        await standby.store.reached.wait()
        await pass_ms(60_000)
        standby.store.go.set()
        await pass_ms(5_000)
        assert not election.done()

    run(scenario())


def test_proof_of_death_saves_the_wait() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await TestBroker(bucket, "a").elect())
        began_ms = now_ms()
        term = await TestBroker(bucket, "b").elect(skip_wait=True)
        assert now_ms() - began_ms < 200
        assert term.epoch == 2

    run(scenario())


def test_a_broker_that_must_not_stand_by_refuses_while_another_lives() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        with pytest.raises(BrokerLeadershipError, match="a:8081") as caught:
            await TestBroker(bucket, "b").elect(stand_by=False)
        assert caught.value.leader == "a:8081"
        kill(term)
        assert (await TestBroker(bucket, "c").elect(stand_by=False)).epoch == 2

    run(scenario())


def test_a_clean_hand_over_takes_no_timeout() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        standby = TestBroker(bucket, "b")
        election = asyncio.ensure_future(standby.elect())
        await term.appender.append(b"x", 1)
        await pass_ms(5_000)
        began_ms = now_ms()
        await term.hand_over()
        assert not term.is_live()
        assert (await election).epoch == 2
        assert now_ms() - began_ms < 1_000
        assert standby.state.applied == [(2, b"x")]
        assert isinstance(term.lost.result(), NotLeader)
        await term.hand_over()  # once more changes nothing
        assert root_of(bucket).grpc_address == "b:8081"

    run(scenario())


@pytest.mark.parametrize("interval_ms", [0, 10_000, 12_000])
def test_a_heartbeat_interval_must_lie_below_the_timeout(interval_ms: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        Heartbeat(interval_ms=interval_ms, timeout_ms=10_000)


def test_a_deposed_leader_knows_at_once_who_leads() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        old = TestBroker(bucket, "a")
        term = await old.elect()
        await TestBroker(bucket, "b").elect(skip_wait=True)
        await term.lost
        await asyncio.sleep(0)
        assert (old.elector.leader, old.elector.leader_epoch) == ("b:8081", 2)

    run(scenario())


def test_candidacies_are_told() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await TestBroker(bucket, "a").elect())
        told: list[bool] = []
        loser = TestBroker(bucket, "b", ScriptedFaults([FaultKind.FAIL_BEFORE], on_root), on_candidacy=told.append)
        election = asyncio.ensure_future(loser.elect())
        await pass_ms(9_000)
        assert told == []
        while not told:
            await pass_ms(1)
        winner = await TestBroker(bucket, "c").elect(skip_wait=True)
        await pass_ms(2_000)
        assert told == [True, False]
        kill(winner)
        await election
        assert told == [True, False, True]

    run(scenario())


# --- taking the root ---


@pytest.mark.parametrize(
    "faults",
    [
        [FaultKind.FAIL_AFTER],
        [FaultKind.FAIL_BEFORE],
        [FaultKind.REFUSED_AFTER],
        [FaultKind.UNAVAILABLE] * 3,
        [Fault(FaultKind.LAND_LATE, late_ms=40)],
        [Fault(FaultKind.LAND_LATE, late_ms=5), FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER],
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_swap_whose_answer_is_lost_is_settled_by_reading(faults: list[Fault | FaultKind], existing: bool) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        if existing:
            kill(await TestBroker(bucket, "a").elect())
        broker = TestBroker(bucket, "b", ScriptedFaults(faults, on_root))
        term = await broker.elect(skip_wait=True)
        assert term.epoch == 1 + existing
        assert root_of(bucket).is_of(term.epoch, term.incarnation)
        assert broker.elector.counters.candidacies_lost == 0

    run(scenario())


def test_a_swap_that_landed_for_another_is_not_taken_for_mine() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await TestBroker(bucket, "a").elect())
        slow = TestBroker(bucket, "b", ScriptedFaults([FaultKind.FAIL_BEFORE], on_root))
        election = asyncio.ensure_future(slow.elect(skip_wait=True))
        await pass_ms(12)
        winner = await TestBroker(bucket, "c").elect(skip_wait=True)
        await pass_ms(1)
        assert winner.epoch == 2
        await pass_ms(30_000)
        assert slow.elector.counters.candidacies_lost == 1
        assert not election.done()

    run(scenario())


def test_a_candidate_renews_while_it_loads() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        await term.appender.append(b"x", 1)
        kill(term)
        slow, other = TestBroker(bucket, "b"), TestBroker(bucket, "c")
        slow.store.hold(lambda operation, key: key.startswith("log/") and operation == "read")
        election = asyncio.ensure_future(slow.elect())
        other_election = asyncio.ensure_future(other.elect())
        await slow.store.reached.wait()
        await pass_ms(60_000)
        assert not other_election.done(), "the candidate is alive, however long it loads"
        slow.store.go.set()
        assert (await election).epoch == 2
        assert slow.state.applied == [(2, b"x")]

    run(scenario())


# --- fencing ---


def test_a_fence_ends_the_old_lane_and_the_old_leader() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        old = TestBroker(bucket, "a")
        term = await old.elect()
        await term.appender.append(b"1", 1)
        kill(term)  # its renewals stop; its appender does not know
        successor = await TestBroker(bucket, "b").elect()
        fence = entry_at(bucket, 1, 3)
        assert isinstance(fence, Fence)
        assert fence.epoch == 2
        with pytest.raises(OutcomeUnknown):
            await term.appender.append(b"2", 1)
        reason = await term.lost
        assert isinstance(reason, Fenced)
        assert reason.epoch == 2
        assert not term.is_live()
        assert await successor.appender.append(b"3", 1) == 4
        assert segment_key(2, 4) in bucket.keys_after(lane_prefix(2), "", 9)

    run(scenario())


def test_a_put_that_lands_before_the_fence_is_kept() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        kill(term)
        successor = TestBroker(bucket, "b")
        successor.store.hold(lambda operation, key: operation == "put" and key.startswith("log/"))
        election = asyncio.ensure_future(successor.elect())
        await successor.store.reached.wait()  # it has seen slot 2 absent, and is about to fence there
        assert await term.appender.append(b"just in time", 1) == 2
        successor.store.go.set()
        assert (await election).appender.next_sequence == 4
        assert successor.state.applied == [(2, b"just in time")]

    run(scenario())


def test_a_candidate_follows_a_fence_that_took_its_slot() -> None:
    """Candidate 2 has put its fence and died; candidate 3 had already looked at the slot."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        await term.appender.append(b"x", 1)
        kill(term)
        second, third = TestBroker(bucket, "b"), TestBroker(bucket, "c")
        second.store.hold(lambda operation, key: operation == "put" and key.startswith("log/"))
        third.store.hold(lambda operation, key: operation == "put" and key.startswith("log/"))
        dying = asyncio.ensure_future(second.elect(skip_wait=True))
        await second.store.reached.wait()
        election = asyncio.ensure_future(third.elect(skip_wait=True))
        await third.store.reached.wait()
        second.store.go.set()
        await pass_ms(100)
        dying.cancel()
        third.store.go.set()
        assert (await election).epoch == 3
        fence = entry_at(bucket, 1, 3)
        assert isinstance(fence, Fence)
        assert fence.epoch == 2
        assert isinstance(entry_at(bucket, 2, 4), Fence)
        assert third.state.applied == [(2, b"x")]

    run(scenario())


def test_a_confirmed_fence_is_not_enough_the_root_is_read_again() -> None:
    """A candidate sleeps before its fence, in front of what becomes a hole; the fence lands, and it must not serve."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        kill(term)
        sleeper = TestBroker(bucket, "b")
        sleeper.store.hold(lambda operation, key: operation == "put")
        election = asyncio.ensure_future(sleeper.elect(skip_wait=True))
        await sleeper.store.reached.wait()  # it is about to put its fence at (1, 2)
        await term.appender.append(b"x", 1)  # lands at (1, 2) and is acknowledged
        next_term = await TestBroker(bucket, "c").elect(skip_wait=True)
        await next_term.appender.append(b"y", 1)
        await next_term.publish_checkpoint(next_term.appender.next_sequence - 1, b"x y", 0)
        await pass_ms(500)
        assert entry_at(bucket, 1, 2) is None, "cleaned up: a hole"
        sleeper.store.go.set()
        await pass_ms(5_000)
        assert isinstance(entry_at(bucket, 1, 2), Fence), "its fence landed in the hole"
        assert not election.done()
        assert next_term.is_live()
        assert await next_term.appender.append(b"z", 1) == 5
        reader = TestBroker(bucket, "d")
        kill(next_term)
        await reader.elect(skip_wait=True)
        assert reader.state.chunks == [b"x y"]
        assert [records for _, records in reader.state.applied] == [b"z"]

    run(scenario())


def test_a_leader_that_slept_through_takeover_and_clean_up_still_meets_a_fence() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        old = TestBroker(bucket, "a")
        term = await old.elect()
        await term.appender.append(b"1", 1)
        old.store.hold(lambda operation, key: True)
        answer = term.appender.append(b"2", 1)
        successor = await TestBroker(bucket, "b").elect()
        await successor.appender.append(b"3", 1)
        await successor.publish_checkpoint(4, b"1 3", 0)
        await pass_ms(1_000)
        old.store.go.set()
        with pytest.raises(OutcomeUnknown):
            await answer
        assert successor.is_live()

    run(scenario())


def test_two_takeovers_that_never_commit_leave_a_readable_log() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        for name in "abcd":
            broker = TestBroker(bucket, name)
            term = await broker.elect(skip_wait=True)
            kill(term)
        assert term.epoch == 4
        assert term.recovered.fences == 3
        await term.appender.append(b"x", 1)
        last = TestBroker(bucket, "e")
        await last.elect(skip_wait=True)
        assert last.state.applied == [(5, b"x")]

    run(scenario())


# --- trouble ---


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_what_the_root_vouches_for_is_missed_loudly(damage: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        for text in (b"1", b"2", b"3", b"4", b"5", b"6"):
            await term.appender.append(text, 1)
        kill(term)
        key = segment_key(1, 4)
        if damage == "missing":
            bucket.remove(key)
        else:
            bucket.overwrite(key, b"?")
        with pytest.raises(CorruptObject) as caught:
            await TestBroker(bucket, "b").elect(skip_wait=True)
        assert caught.value.key == key
        assert len(bucket.keys_after(lane_prefix(1), "", 99)) == 6 - (damage == "missing"), "nothing was fenced or lost"

    run(scenario())


@pytest.mark.parametrize("where", ["segment", "inline", "object"])
def test_content_that_the_engine_refuses_is_named_by_its_object(where: str) -> None:
    def refuse(*_: object) -> None:
        raise CorruptObject("content", "a job without a number")

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        await term.appender.append(b"1", 1)
        if where != "segment":
            await term.publish_checkpoint(2, b"x" if where == "inline" else os.urandom(300_000), 0)
        kill(term)
        broker = TestBroker(bucket, "b")
        broker.state.apply = broker.state.load = refuse  # type: ignore[method-assign]
        with pytest.raises(CorruptObject, match="a job without a number") as caught:
            await broker.elect(skip_wait=True)
        keys = {"segment": segment_key(1, 2), "inline": ROOT, "object": checkpoint_key(2, 1, 0)}
        assert caught.value.key == keys[where]

    run(scenario())


def test_a_missing_checkpoint_is_no_alarm_when_the_root_is_no_longer_mine() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        await term.appender.append(b"1", 1)
        await term.publish_checkpoint(2, os.urandom(400_000), 0)
        assert root_of(bucket).checkpoint.form == "objects"
        kill(term)
        sleeper = TestBroker(bucket, "b")
        sleeper.store.hold(lambda operation, key: key.startswith("checkpoints/"))
        election = asyncio.ensure_future(sleeper.elect(skip_wait=True))
        await sleeper.store.reached.wait()
        sleeper.store.where = lambda operation, key: True
        next_term = await TestBroker(bucket, "c").elect(skip_wait=True)
        await next_term.appender.append(b"3", 1)
        await next_term.publish_checkpoint(next_term.appender.next_sequence - 1, b"small", 0)
        await pass_ms(1_000)
        assert not bucket.keys_after("checkpoints/", "", 9), "cleaned up under the sleeper"
        sleeper.store.where = lambda operation, key: False
        sleeper.store.go.set()
        await pass_ms(5_000)
        assert not election.done(), "it stands by again, without complaint"
        assert sleeper.elector.counters.candidacies_lost >= 1

    run(scenario())


def test_a_root_that_was_set_back_is_noticed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        kill(await TestBroker(bucket, "a").elect())
        stored = bucket.get(ROOT)
        assert stored is not None
        term = await TestBroker(bucket, "b").elect(skip_wait=True)
        await term.appender.append(b"x", 1)
        kill(term)
        bucket.overwrite(ROOT, stored.body)
        with pytest.raises(CorruptObject, match="set back to epoch 2"):
            await TestBroker(bucket, "c").elect(skip_wait=True)

    run(scenario())


def test_a_store_that_denies_refuses_the_start() -> None:
    async def scenario() -> None:
        broker = TestBroker(MemoryBucket(), "a")

        async def denied(key: str, body: bytes) -> str:
            raise StoreDenied("403")

        broker.store.put_if_absent = denied  # type: ignore[method-assign]
        with pytest.raises(StoreDenied):
            await broker.elect()

    run(scenario())


def test_a_cancelled_election_leaves_nothing_running() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker = TestBroker(bucket, "a")
        broker.store.hold(lambda operation, key: operation == "read" and key.startswith("log/"))
        election = asyncio.ensure_future(broker.elect())
        await broker.store.reached.wait()
        election.cancel()
        await asyncio.wait({election})
        broker.store.go.set()
        await pass_ms(20)
        version = bucket.get(ROOT)
        await pass_ms(20_000)
        assert bucket.get(ROOT) == version, "nobody renews any more"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


# --- the seed's queue ---

SEED = b'{"broker":"http://old:8080","brokerHeartbeat":5,"jobs":[{"id":"j1","n":1.50},{"id":"j2"}],"completedTotal":41}'


def test_a_seeds_queue_is_adopted_jobs_and_all() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        bucket.overwrite(ROOT, SEED)
        broker = TestBroker(bucket, "a")
        began_ms = now_ms()
        term = await broker.elect()
        assert now_ms() - began_ms >= HEARTBEAT.timeout_ms, "the seed's broker may be alive"
        assert broker.state.seed == ([b'{"id":"j1","n":1.50}', b'{"id":"j2"}'], 41)
        assert term.recovered.adopted
        assert term.epoch == 1
        await term.appender.append(b"more", 1)
        # The jobs lie in the root until a checkpoint is vouched for: dying here loses none.
        kill(term)
        second = TestBroker(bucket, "b")
        term = await second.elect(skip_wait=True)
        assert second.state.seed == broker.state.seed
        assert second.state.applied == [(2, b"more")]
        await term.publish_checkpoint(term.appender.next_sequence - 1, b"image", 41)
        kill(term)
        third = TestBroker(bucket, "c")
        assert not (await third.elect(skip_wait=True)).recovered.adopted
        assert third.state.seed is None
        assert third.state.chunks == [b"image"]

    run(scenario())


def test_a_living_broker_of_the_seed_is_not_disturbed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        bucket.overwrite(ROOT, SEED)
        election = asyncio.ensure_future(TestBroker(bucket, "a").elect())
        for beat in range(20):
            await pass_ms(3_000)
            bucket.overwrite(ROOT, SEED.replace(b":5,", b":%d," % (beat + 6)))
        assert not election.done()

    run(scenario())


def test_a_broker_of_the_seed_that_overwrites_the_root_is_named() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await TestBroker(bucket, "a").elect()
        bucket.overwrite(ROOT, SEED)
        reason = await term.lost
        assert isinstance(reason, CorruptObject)
        assert "does not know this format" in str(reason)

    run(scenario())

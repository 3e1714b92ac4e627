"""A leader's term: renewals, reads, checkpoints, and its end."""

import asyncio
import os

import msgspec
import pytest

from osqueue_service.errors import (
    CorruptObject,
    Deposed,
    NotLeader,
    OutcomeUnknown,
    StorageUnavailable,
    StoreDenied,
    StoreFailed,
    StoreUnknown,
)
from osqueue_service.leadership import Term, term
from osqueue_service.log.paths import ROOT, segment_key
from osqueue_service.log.root import INLINE_BYTES_MAX
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import Fault, FaultKind, ScriptedFaults
from tests.unit.leadership.brokers import HEARTBEAT, TestBroker, kill, now_ms, pass_ms, root_of
from tests.unit.log.virtual import run


def on_swap(operation: Operation, key: str) -> bool:
    return operation is Operation.PUT_IF_VERSION


async def lead(bucket: MemoryBucket, name: str = "a") -> tuple[TestBroker, Term]:
    broker = TestBroker(bucket, name)
    return broker, await broker.elect(skip_wait=True)


async def commit(leader: Term, *records: bytes) -> int:
    for text in records:
        await leader.appender.append(text, 1)
    return leader.appender.released.sequence


# --- renewals and the lease ---


def test_the_root_is_renewed_every_interval_with_a_fresh_nonce() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        nonces, beats = set(), []
        for _ in range(10):
            await pass_ms(HEARTBEAT.interval_ms)
            root = root_of(bucket)
            nonces.add(root.nonce)
            beats.append(root.broker_heartbeat)
            assert leader.is_live()
        assert len(nonces) == 10
        assert beats == sorted(beats)

    run(scenario())


@pytest.mark.parametrize(
    "faults",
    [
        [FaultKind.FAIL_AFTER] * 2,
        [FaultKind.FAIL_BEFORE] * 3,
        [FaultKind.REFUSED_AFTER, FaultKind.UNAVAILABLE],
        [Fault(FaultKind.LAND_LATE, late_ms=3_500)] * 3,
        [Fault(FaultKind.LAND_LATE, late_ms=20), FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER],
    ],
)
def test_renewals_whose_answers_are_lost_cost_no_leadership(faults: list[Fault | FaultKind]) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        broker.faulty.plan = ScriptedFaults(faults, on_swap)
        standby = asyncio.ensure_future(TestBroker(bucket, "b").elect())
        await pass_ms(60_000)
        assert leader.is_live()
        assert not standby.done()
        assert root_of(bucket).epoch == 1

    run(scenario())


def test_a_leader_cut_off_stops_serving_reads_before_anybody_can_take_over() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        standby = asyncio.ensure_future(TestBroker(bucket, "b").elect())
        await pass_ms(20_000)
        broker.store.hold(lambda operation, key: True)
        while leader.is_live():
            await pass_ms(10)
            assert not standby.done()
        assert not leader.lost.over, "it may still be the leader, and its commits would still be good"
        successor = await standby
        assert successor.epoch == 2
        broker.store.go.set()
        assert isinstance(await leader.lost, Deposed)

    run(scenario())


def test_the_lease_counts_from_when_a_renewal_was_sent() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        await pass_ms(2_500)
        broker.store.hold(lambda operation, key: operation == "swap")
        await broker.store.reached.wait()
        held_ms = now_ms()
        await pass_ms(8_000)
        broker.store.go.set()
        await pass_ms(5)
        broker.store.hold(
            lambda operation, key: operation == "swap"
        )  # the next one, which is overdue, and sent at once
        await pass_ms(held_ms + HEARTBEAT.lease_ms - now_ms() + 1)
        assert not leader.is_live()

    run(scenario())


def test_a_leader_knows_that_somebody_could_have_taken_over() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())
        await pass_ms(20_000)
        assert leader.lapses == 0
        broker.store.hold(lambda operation, key: True)
        while leader.is_live():
            await pass_ms(10)
        broker.store.go.set()
        await pass_ms(5_000)
        assert leader.is_live() and leader.lapses == 1

    run(scenario())


def test_confirming_by_reading_does_not_lengthen_the_lease() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())
        broker.store.hold(lambda operation, key: operation == "swap")
        for _ in range(13):
            await pass_ms(1_000)
            await leader.confirm()
        assert not leader.is_live()

    run(scenario())


def test_a_leader_that_finds_another_in_the_root_steps_down() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        answer = leader.appender.append(b"x", 1)
        _, successor = await lead(bucket, "b")
        reason = await leader.lost
        assert isinstance(reason, Deposed)
        assert (reason.epoch, reason.leader) == (2, "b:8081")
        with pytest.raises(NotLeader) as caught:
            await leader.confirm()
        assert caught.value.leader_address == "b:8081"
        assert answer.done()
        assert successor.is_live()

    run(scenario())


def test_a_second_winner_of_one_epoch_is_the_stores_fault_and_halts_the_leader() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        other = msgspec.structs.replace(root_of(bucket), incarnation="another", nonce="another")
        bucket.overwrite(ROOT, other.encode())
        reason = await leader.lost
        assert isinstance(reason, CorruptObject)
        assert "let two brokers take epoch 1" in str(reason)

    run(scenario())


@pytest.mark.parametrize("refusal", [StoreDenied("403"), StoreFailed("fsync")])
def test_a_store_that_refuses_renewals_for_good_ends_the_term(refusal: Exception) -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())

        async def refuse(key: str, body: bytes, version: str) -> str:
            raise refusal

        broker.store.put_if_version = refuse  # type: ignore[method-assign]
        assert await leader.lost is refusal
        assert not leader.appender.room

    run(scenario())


@pytest.mark.parametrize("refusal", [StoreDenied("403"), StoreFailed("fsync")])
def test_a_store_that_refuses_another_change_of_the_root_for_good_ends_the_term(refusal: Exception) -> None:
    """Whoever asked hears that this broker leads no longer, and not what the store said."""

    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())

        async def refuse(key: str, body: bytes, version: str) -> str:
            raise refusal

        broker.store.put_if_version = refuse  # type: ignore[method-assign]
        with pytest.raises(NotLeader):
            await leader.switch_on({"limits"})
        assert await leader.lost is refusal

    run(scenario())


def test_a_root_that_is_deleted_or_damaged_halts_the_leader() -> None:
    async def scenario() -> None:
        for damage in (None, b"{}", b"rubbish"):
            bucket = MemoryBucket()
            _, leader = await lead(bucket)
            if damage is None:
                bucket.remove(ROOT)
            else:
                bucket.overwrite(ROOT, damage)
            reason = await leader.lost
            assert isinstance(reason, CorruptObject)
            assert reason.key == ROOT

    run(scenario())


# --- confirming reads ---


def test_a_read_confirms_only_those_who_asked_before_it_was_sent() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())
        broker.store.hold(lambda operation, key: operation == "read")
        first = [asyncio.ensure_future(leader.confirm()) for _ in range(5)]
        await broker.store.reached.wait()
        reads = 0

        def count(operation: str, key: str) -> bool:
            nonlocal reads
            reads += operation == "read"
            return False

        broker.store.where = count
        late = [asyncio.ensure_future(leader.confirm()) for _ in range(5)]
        await pass_ms(100)
        assert not any(confirmation.done() for confirmation in first + late)
        broker.store.go.set()
        await asyncio.gather(*first)
        assert not any(confirmation.done() for confirmation in late)
        await asyncio.gather(*late)
        assert reads == 1, "five callers share one read"

    run(scenario())


def test_a_caller_who_goes_does_not_take_the_read_along() -> None:
    async def scenario() -> None:
        _, leader = await lead(MemoryBucket())
        first, second = asyncio.ensure_future(leader.confirm()), asyncio.ensure_future(leader.confirm())
        await pass_ms(1)
        first.cancel()
        await second

    run(scenario())


def test_a_deposed_leader_confirms_nothing() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        kill(leader)
        await lead(bucket, "b")
        with pytest.raises(NotLeader) as caught:
            await leader.confirm()
        assert caught.value.leader_address == "b:8081"
        assert isinstance(leader.lost.result(), Deposed)

    run(scenario())


def test_a_store_that_does_not_answer_is_said_so() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())

        async def lost(key: str) -> None:
            raise StoreUnknown("timeout")

        read, broker.store.read = broker.store.read, lost  # type: ignore[method-assign,assignment]
        with pytest.raises(StorageUnavailable):
            await leader.confirm()
        broker.store.read = read  # type: ignore[method-assign]
        await leader.confirm()
        assert leader.is_live()

    run(scenario())


# --- checkpoints ---


def test_a_small_checkpoint_lies_in_the_root() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        sequence = await commit(leader, b"1", b"2")
        await leader.publish_checkpoint(sequence, [b"im", b"age"], 9)
        root = root_of(bucket)
        assert (root.checkpoint.sequence, root.checkpoint.epoch, root.checkpoint.form) == (3, 1, "inline")
        assert root.completed_total == 9
        await pass_ms(1_000)
        assert bucket.keys_after("", "", 9) == [segment_key(0, 1), ROOT], "one fence is all that is left of the log"
        await pass_ms(10_000)
        assert root_of(bucket).checkpoint == root.checkpoint, "renewals keep it"
        kill(leader)
        broker, _ = await lead(bucket, "b")
        assert broker.state.chunks == [b"im", b"age"]
        assert broker.state.applied == []

    run(scenario())


def test_a_state_lies_in_the_root_only_where_it_fits() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        await leader.publish_checkpoint(await commit(leader, b"1"), os.urandom(INLINE_BYTES_MAX * 3 // 4 - 100), 1)
        assert root_of(bucket).checkpoint.form == "inline"
        await leader.publish_checkpoint(await commit(leader, b"2"), os.urandom(INLINE_BYTES_MAX * 3 // 4), 1)
        root = root_of(bucket)
        assert root.checkpoint.form == "objects"
        assert len(root.encode()) < 1_000
        await leader.publish_checkpoint(await commit(leader, b"3"), b"small again", 1)
        assert root_of(bucket).checkpoint.form == "inline"

    run(scenario())


def test_a_checkpoint_is_vouched_for_only_once_its_segment_is_released() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        broker.store.hold(lambda operation, key: key == segment_key(1, 2))
        answer = leader.appender.append(b"1", 1)
        publishing = asyncio.ensure_future(leader.publish_checkpoint(2, b"1", 0))
        await asyncio.sleep(0)
        later = leader.appender.append(b"2", 1)
        await pass_ms(5_000)
        assert root_of(bucket).checkpoint.form == "empty"
        broker.store.go.set()
        await publishing
        assert root_of(bucket).checkpoint.sequence == 2
        assert (await answer, await later) == (2, 3)
        assert segment_key(1, 3) in bucket.keys_after("log/", "", 9)

    run(scenario())


@pytest.mark.parametrize(
    "faults",
    [
        [FaultKind.FAIL_AFTER],
        [FaultKind.FAIL_BEFORE],
        [FaultKind.REFUSED_AFTER],
        [FaultKind.UNAVAILABLE] * 3,
        [Fault(FaultKind.LAND_LATE, late_ms=30), FaultKind.FAIL_BEFORE],
    ],
)
def test_a_checkpoint_whose_swap_is_not_answered_is_settled(faults: list[Fault | FaultKind]) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        sequence = await commit(leader, b"1")
        broker.faulty.plan = ScriptedFaults(faults, on_swap)
        await leader.publish_checkpoint(sequence, b"image", 3)
        assert root_of(bucket).checkpoint.sequence == sequence
        assert root_of(bucket).completed_total == 3
        await pass_ms(20_000)
        assert root_of(bucket).checkpoint.sequence == sequence

    run(scenario())


def test_deposed_while_publishing_deletes_nothing() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        sequence = await commit(leader, b"1", b"2")
        kill(leader)
        broker.store.hold(lambda operation, key: operation == "swap")
        publishing = asyncio.ensure_future(leader.publish_checkpoint(sequence, os.urandom(300_000), 0))
        await broker.store.reached.wait()
        _, successor = await lead(bucket, "b")
        before = bucket.keys_after("", "", 99)
        broker.store.go.set()
        with pytest.raises(NotLeader):
            await publishing
        await pass_ms(5_000)
        assert bucket.keys_after("", "", 99) == before
        assert isinstance(leader.lost.result(), Deposed)
        # Its object stays until a larger checkpoint is vouched for.
        await successor.publish_checkpoint(await commit(successor, b"3"), b"1 2 3", 0)
        await pass_ms(1_000)
        assert bucket.keys_after("checkpoints/", "", 9) == []

    run(scenario())


def test_a_checkpoint_given_up_half_way_harms_nothing() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        sequence = await commit(leader, b"1")
        broker.store.hold(lambda operation, key: operation == "swap")
        publishing = asyncio.ensure_future(leader.publish_checkpoint(sequence, b"image", 0))
        await broker.store.reached.wait()
        publishing.cancel()
        await asyncio.wait({publishing})
        broker.store.go.set()
        assert not leader.lost.over
        with pytest.raises(ValueError, match="had its checkpoint before"):
            await leader.publish_checkpoint(sequence, b"image", 0)
        await leader.publish_checkpoint(await commit(leader, b"2"), b"both", 0)
        assert root_of(bucket).checkpoint.sequence == sequence + 1

    run(scenario())


def test_only_the_newest_sequence_can_be_a_checkpoint() -> None:
    async def scenario() -> None:
        _, leader = await lead(MemoryBucket())
        sequence = await commit(leader, b"1", b"2")
        for wrong in (sequence - 1, sequence + 1):
            with pytest.raises(ValueError, match="not the last one appended"):
                await leader.publish_checkpoint(wrong, b"image", 0)
        assert not leader.lost.over

    run(scenario())


def test_commits_go_on_while_a_checkpoint_is_written() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())
        sequence = await commit(leader, b"1")
        broker.store.hold(lambda operation, key: key.startswith("checkpoints/"))
        publishing = asyncio.ensure_future(leader.publish_checkpoint(sequence, os.urandom(300_000), 0))
        await broker.store.reached.wait()
        assert await commit(leader, b"2", b"3", b"4") == sequence + 3
        broker.store.go.set()
        await publishing
        assert leader.log_bytes == 3 * 145

    run(scenario())


def test_a_checkpoint_is_due_when_the_log_outweighs_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "SEGMENT_WEIGHT_BYTES", 0)

    async def scenario() -> None:
        _, leader = await lead(MemoryBucket())
        noise = os.urandom(600_000)
        await commit(leader, noise)
        assert not leader.checkpoint_due()
        await commit(leader, noise)
        assert leader.checkpoint_due(), "1 MiB is the floor"
        await leader.publish_checkpoint(leader.appender.released.sequence, os.urandom(2_000_000), 0)
        assert not leader.checkpoint_due()
        await commit(leader, noise, noise, noise)
        assert not leader.checkpoint_due()
        await commit(leader, noise)
        assert leader.checkpoint_due()

    run(scenario())


def test_a_checkpoint_is_due_when_a_recovery_would_read_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "TAIL_SEGMENTS_MAX", 20)

    async def scenario() -> None:
        _, leader = await lead(MemoryBucket())
        await commit(leader, *[b"x"] * 18)
        assert not leader.checkpoint_due()
        await commit(leader, b"x")
        assert leader.checkpoint_due()

    run(scenario())


def test_what_a_takeover_replayed_counts_as_log() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        await commit(leader, os.urandom(2_000_000))
        kill(leader)
        _, successor = await lead(bucket, "b")
        assert successor.checkpoint_due()
        assert successor.recovered.segments == 1

    run(scenario())


def test_a_clean_up_that_meets_a_failed_store_ends_the_term() -> None:
    async def scenario() -> None:
        broker, leader = await lead(MemoryBucket())
        failure = StoreFailed("fsync")

        async def fail(key: str) -> None:
            raise failure

        broker.store.delete = fail  # type: ignore[method-assign]
        await leader.publish_checkpoint(await commit(leader, b"1"), b"image", 0)
        assert await leader.lost is failure

    run(scenario())


# --- the end ---


def test_a_hand_over_keeps_the_checkpoint_and_names_nobody() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        await leader.publish_checkpoint(await commit(leader, b"1"), b"image", 4)
        await leader.hand_over()
        root = root_of(bucket)
        assert (root.broker, root.grpc_address, root.leader) == (None, None, "")
        assert root.checkpoint.sequence == 2
        version = bucket.get(ROOT)
        await pass_ms(30_000)
        assert bucket.get(ROOT) == version, "nothing is renewed any more"
        with pytest.raises(NotLeader):
            await leader.appender.append(b"2", 1)

    run(scenario())


def test_a_hand_over_that_is_not_answered_is_settled() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        broker.faulty.plan = ScriptedFaults([FaultKind.FAIL_AFTER, FaultKind.FAIL_BEFORE], on_swap)
        await leader.hand_over()
        assert root_of(bucket).broker is None

    run(scenario())


def test_a_hand_over_to_one_who_has_taken_over_already() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, leader = await lead(bucket)
        kill(leader)
        _, successor = await lead(bucket, "b")
        await leader.hand_over()
        assert root_of(bucket).leader == "b:8081"
        assert successor.is_live()

    run(scenario())


@pytest.mark.parametrize("held", ["checkpoints/", ROOT])
def test_a_hand_over_during_a_checkpoint_gives_it_up(held: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        broker, leader = await lead(bucket)
        sequence = await commit(leader, b"1")
        broker.store.hold(lambda operation, key: key.startswith(held) and operation in ("put", "swap"))
        publishing = asyncio.ensure_future(leader.publish_checkpoint(sequence, os.urandom(300_000), 0))
        await broker.store.reached.wait()
        handing_over = asyncio.ensure_future(leader.hand_over())
        await pass_ms(10)
        broker.store.go.set()
        await handing_over
        with pytest.raises(NotLeader):
            await publishing
        await pass_ms(5_000)
        assert segment_key(1, 2) in bucket.keys_after("log/", "", 9), "nothing is cleaned up any more"
        assert root_of(bucket).broker is None
        successor, term = await lead(bucket, "b")
        if root_of(bucket).checkpoint.form == "empty":
            assert successor.state.applied == [(2, b"1")]
        assert term.epoch == 2

    run(scenario())


def test_a_hand_over_makes_commits_under_way_unknown() -> None:
    async def scenario() -> None:
        _, leader = await lead(MemoryBucket())
        answer = leader.appender.append(b"1", 1)
        await leader.hand_over()
        with pytest.raises(OutcomeUnknown):
            await answer

    run(scenario())

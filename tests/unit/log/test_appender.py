"""The leader's lane: durable before acknowledged, in order, and three outcomes settled."""

import asyncio
from collections.abc import Sequence

import pytest

from osqueue_service.errors import (
    CorruptObject,
    Fenced,
    NotLeader,
    OutcomeUnknown,
    StoreDenied,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.log import DEPTH_MAX, Appender, LogCounters, Segment, Settler
from osqueue_service.log.segment import decode
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.store import StoredObject
from osqueue_service.testing.faulty import Fault, FaultKind
from tests.unit.log.fixtures import FENCE, ME, OTHER, appender_over, fence, lay, segment, settler_over
from tests.unit.log.virtual import SeededIds, VirtualClock, run


class HandStore:
    """A store whose every request waits until the test decides how it ends."""

    description = "by hand"

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes, asyncio.Future[str]]] = []
        self.reads: list[tuple[str, asyncio.Future[StoredObject | None]]] = []

    async def put_if_absent(self, key: str, body: bytes) -> str:
        self.puts.append((key, body, asyncio.get_running_loop().create_future()))
        return await self.puts[-1][2]

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        raise NotImplementedError

    async def read(self, key: str) -> StoredObject | None:
        self.reads.append((key, asyncio.get_running_loop().create_future()))
        return await self.reads[-1][1]

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        return None


def by_hand(depth: int = 4) -> tuple[HandStore, Appender]:
    store = HandStore()
    return store, appender_over(Settler(store, VirtualClock(), SeededIds(), LogCounters()), depth=depth)


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_segments_are_put_in_sequence_and_chained() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        appender = appender_over(settler_over(bucket))
        assert await asyncio.gather(*(appender.append(b"r%d" % n, n) for n in (1, 2, 3))) == [8, 9, 10]
        before = FENCE
        for sequence, count in ((8, 1), (9, 2), (10, 3)):
            key = Segment(3, sequence, ME, b"", 0, 1, b"").key
            stored = bucket.get(key)
            assert stored is not None
            decoded = decode(key, stored.body)
            assert decoded.entry == Segment(3, sequence, ME, before.hash, 7, count, b"r%d" % count)
            before = appender.released if sequence == 10 else before
            before = type(before)(3, sequence, decoded.hash)
        assert appender.released.hash == appender.appended.hash == before.hash
        assert appender.released.log_bytes == sum(len(bucket.get(key).body) for key in bucket.keys_after("", "", 9))  # type: ignore[union-attr]

    run(scenario())


def test_puts_overlap_up_to_the_depth() -> None:
    async def scenario() -> None:
        store, appender = by_hand(depth=2)
        first, second = appender.append(b"1", 1), appender.append(b"2", 1)
        await settle()
        assert len(store.puts) == 2
        assert not appender.room
        assert appender.in_flight == 2
        with pytest.raises(RuntimeError, match="room"):
            appender.append(b"3", 1)
        store.puts[0][2].set_result("v")
        assert await first == 8
        assert appender.room
        assert not second.done()

    run(scenario())


def test_an_answer_waits_for_all_before_it() -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        answers = [appender.append(b"%d" % n, 1) for n in range(3)]
        await settle()
        store.puts[2][2].set_result("v")
        store.puts[1][2].set_result("v")
        await settle()
        assert not any(answer.done() for answer in answers)
        assert appender.released == FENCE
        store.puts[0][2].set_result("v")
        assert await asyncio.gather(*answers) == [8, 9, 10]

    run(scenario())


def test_a_retry_sends_identical_bytes_to_the_same_slot() -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        answer = appender.append(b"x", 1)
        await settle()
        store.puts[0][2].set_exception(StoreUnknown("reset"))
        await asyncio.sleep(1)
        store.puts[1][2].set_exception(StoreUnavailable("503"))
        await asyncio.sleep(1)
        assert [put[:2] for put in store.puts] == [store.puts[0][:2]] * 3
        store.puts[2][2].set_result("v")
        assert await answer == 8

    run(scenario())


def test_a_refusal_alone_means_nothing_the_slot_decides() -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        answer = appender.append(b"x", 1)
        await settle()
        key, body, outcome = store.puts[0]
        outcome.set_exception(StoreRefused("412"))
        await settle()
        assert not answer.done()
        assert store.reads[0][0] == key
        store.reads[0][1].set_exception(StoreUnknown("an error is not absence"))
        await asyncio.sleep(1)
        store.reads[1][1].set_result(None)  # cleaned up, or the refusal came from between: send again
        await asyncio.sleep(1)
        assert store.puts[1][:2] == (key, body)
        store.puts[1][2].set_exception(StoreRefused("412"))
        await settle()
        store.reads[2][1].set_result(StoredObject(body, "v"))
        assert await answer == 8

    run(scenario())


@pytest.mark.parametrize(
    "faults",
    [
        [FaultKind.FAIL_AFTER],
        [FaultKind.REFUSED_AFTER],
        [FaultKind.FAIL_BEFORE],
        [Fault(FaultKind.LAND_LATE, late_ms=500)],
        [Fault(FaultKind.LAND_LATE, late_ms=30), FaultKind.FAIL_BEFORE],
        [FaultKind.UNAVAILABLE] * 20,
        [FaultKind.FAIL_AFTER, FaultKind.FAIL_AFTER, FaultKind.REFUSED_AFTER],
    ],
)
def test_whatever_happens_to_the_answer_the_commit_is_made_once(faults: list[Fault | FaultKind]) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        appender = appender_over(settler_over(bucket, *faults))
        assert await appender.append(b"x", 1) == 8
        await asyncio.sleep(2)
        assert len(bucket.keys_after("", "", 9)) == 1
        assert not appender.lost.over

    run(scenario())


def test_an_outage_does_not_lose_the_lane() -> None:
    async def scenario() -> None:
        appender = appender_over(settler_over(MemoryBucket(), *[FaultKind.UNAVAILABLE] * 500))
        assert await appender.append(b"x", 1) == 8
        assert VirtualClock().monotonic_ms() > 60_000

    run(scenario())


def test_the_stores_wish_for_a_pause_is_honoured_within_reason() -> None:
    async def scenario() -> None:
        for wish_ms, waited_s in ((5_000, 5), (10**9, 60)):
            store, appender = by_hand()
            appender.append(b"x", 1)
            await settle()
            store.puts[0][2].set_exception(StoreUnavailable("429", retry_after_ms=wish_ms))
            await asyncio.sleep(waited_s - 0.1)
            assert len(store.puts) == 1
            await asyncio.sleep(0.2)
            assert len(store.puts) == 2

    run(scenario())


def test_a_fence_ends_the_lane_and_everything_put_is_unknown() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        lay(bucket, fence(FENCE, 5))
        appender = appender_over(settler_over(bucket))
        first, second = appender.append(b"1", 1), appender.append(b"2", 1)
        reason = await appender.lost
        assert isinstance(reason, Fenced)
        assert reason.epoch == 5
        for answer in (first, second):
            with pytest.raises(OutcomeUnknown):
                await answer
        assert appender.released == FENCE
        assert not appender.room
        with pytest.raises(NotLeader):
            await appender.append(b"3", 1)
        assert len(bucket.keys_after("", "", 9)) <= 2, "what was never put is not put later"

    run(scenario())


def test_nothing_is_acknowledged_behind_a_fence_even_if_its_own_put_lands() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        appender = appender_over(settler_over(bucket, FaultKind.FAIL_BEFORE))
        first, second = appender.append(b"1", 1), appender.append(b"2", 1)
        await asyncio.sleep(0.011)  # the second has landed, the first waits to be sent again
        lay(bucket, fence(FENCE, 4))
        for answer in (first, second):
            with pytest.raises(OutcomeUnknown):
                await answer
        assert isinstance(await appender.lost, Fenced)

    run(scenario())


def test_a_segment_that_landed_before_the_fence_may_be_acknowledged_late() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        appender = appender_over(settler_over(bucket, FaultKind.FAIL_AFTER))
        answer = appender.append(b"1", 1)
        await asyncio.sleep(0.015)
        lay(bucket, fence(appender.appended, 4))
        assert await answer == 8, "it is in the log, before the fence: true, whoever leads"

    run(scenario())


@pytest.mark.parametrize("kind", ["segment of another", "fence of a lower epoch", "garbage"])
def test_anything_else_in_the_slot_halts_and_is_named(kind: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        ours = segment(FENCE)
        if kind == "segment of another":
            lay(bucket, segment(FENCE, b"theirs", incarnation=OTHER))
        elif kind == "fence of a lower epoch":
            bucket.overwrite(ours.key, fence(FENCE, 2).encode().body)
        else:
            bucket.overwrite(ours.key, b"garbage")
        appender = appender_over(settler_over(bucket))
        with pytest.raises(OutcomeUnknown):
            await appender.append(b"records", 1)
        reason = await appender.lost
        assert isinstance(reason, CorruptObject)
        assert reason.key == ours.key

    run(scenario())


@pytest.mark.parametrize("refusal", [StoreDenied("403"), StoreFailed("fsync")])
def test_a_store_that_refuses_for_good_ends_the_lane(refusal: Exception) -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        answer = appender.append(b"1", 1)
        await settle()
        store.puts[0][2].set_exception(refusal)
        with pytest.raises(OutcomeUnknown):
            await answer
        assert await appender.lost is refusal

    run(scenario())


def test_a_waiter_who_goes_cancels_nothing() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        appender = appender_over(settler_over(bucket))
        first, second = appender.append(b"1", 1), appender.append(b"2", 1)
        first.cancel()
        assert await second == 9
        assert len(bucket.keys_after("", "", 9)) == 2
        assert appender.released.sequence == 9

    run(scenario())


def test_ending_the_lane_from_outside_stops_its_retries() -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        answer = appender.append(b"1", 1)
        await settle()
        store.puts[0][2].set_exception(StoreUnknown("reset"))
        await settle()
        appender.end(NotLeader("deposed"))
        appender.end(RuntimeError("too late to matter"))
        with pytest.raises(OutcomeUnknown):
            await answer
        await asyncio.sleep(10)
        assert len(store.puts) == 1
        assert isinstance(await appender.lost, NotLeader)

    run(scenario())


def test_settled_tells_what_was_durable_when_a_segment_was_sealed() -> None:
    async def scenario() -> None:
        store, appender = by_hand()
        appender.append(b"1", 1)
        appender.append(b"2", 1)
        await settle()
        store.puts[0][2].set_result("v")
        await settle()
        appender.append(b"3", 1)
        await settle()
        entries = [decode(key, body).entry for key, body, _ in store.puts]
        assert [entry.settled for entry in entries if isinstance(entry, Segment)] == [7, 7, 8]

    run(scenario())


def test_latency_is_that_of_undisturbed_puts() -> None:
    async def scenario() -> None:
        appender = appender_over(settler_over(MemoryBucket(), put_ms=50))
        assert appender.latency_ms == 0
        await appender.append(b"1", 1)
        assert appender.latency_ms == pytest.approx(50)
        troubled = appender_over(settler_over(MemoryBucket(), FaultKind.FAIL_BEFORE, put_ms=50))
        await troubled.append(b"1", 1)
        assert troubled.latency_ms == 0

    run(scenario())


def test_waiting_for_a_release() -> None:
    async def scenario() -> None:
        appender = appender_over(settler_over(MemoryBucket()))
        await appender.until_released(7)
        appender.append(b"1", 1)
        appender.append(b"2", 1)
        await appender.until_released(9)
        assert appender.released.sequence == 9
        appender.append(b"3", 1)
        waiting = asyncio.ensure_future(appender.until_released(10))
        await settle()
        appender.end(NotLeader("over"))
        await waiting

    run(scenario())


@pytest.mark.parametrize("depth", [0, DEPTH_MAX + 1])
def test_the_depth_has_limits(depth: int) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="depth"):
            appender_over(settler_over(MemoryBucket()), depth=depth)

    run(scenario())

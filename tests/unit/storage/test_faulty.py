"""Each planned fault does to the bucket what it says, and tells the caller no more than a network would."""

import asyncio
import random
from contextlib import suppress

import pytest

from osqueue_service.errors import StoreError, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.operations import Operation
from osqueue_service.testing.faulty import Fault, FaultKind, FaultyStore, RandomFaults, ScriptedFaults
from tests.unit.storage.manual_clock import ImpatientClock, ManualClock, settle


def faulty(*faults: Fault | FaultKind, clock: ManualClock | None = None) -> tuple[FaultyStore, MemoryBucket]:
    bucket = MemoryBucket()
    return FaultyStore(MemoryStore(bucket), clock or ManualClock(), ScriptedFaults(faults)), bucket


@pytest.mark.parametrize(
    ("kind", "error", "applied"),
    [
        (FaultKind.UNAVAILABLE, StoreUnavailable, False),
        (FaultKind.FAIL_BEFORE, StoreUnknown, False),
        (FaultKind.FAIL_AFTER, StoreUnknown, True),
        (FaultKind.REFUSED_AFTER, StoreRefused, True),
    ],
)
async def test_what_a_put_does_and_says(kind: FaultKind, error: type[StoreError], applied: bool) -> None:
    store, bucket = faulty(kind, FaultKind.NONE, kind)
    with pytest.raises(error):
        await store.put_if_absent("created", b"x")
    assert (bucket.get("created") is not None) is applied
    version = await store.put_if_absent("root", b"before")
    with pytest.raises(error):
        await store.put_if_version("root", b"after", version)
    root = bucket.get("root")
    assert root is not None
    assert root.body == (b"after" if applied else b"before")
    assert store.met == {(Operation.PUT_IF_ABSENT, kind): 1, (Operation.PUT_IF_VERSION, kind): 1}


async def test_a_lost_answer_may_have_been_a_refusal() -> None:
    store, bucket = faulty(FaultKind.NONE, FaultKind.FAIL_AFTER)
    await store.put_if_absent("a", b"first")
    with pytest.raises(StoreUnknown):
        await store.put_if_absent("a", b"second")
    found = bucket.get("a")
    assert found is not None
    assert found.body == b"first"


async def test_a_late_put_lands_when_its_time_comes_if_its_condition_still_holds() -> None:
    clock = ManualClock()
    late = Fault(FaultKind.LAND_LATE, late_ms=5_000)
    store, bucket = faulty(late, late, clock=clock)
    for key in ("free", "taken-later"):
        with pytest.raises(StoreUnknown):
            await store.put_if_absent(key, b"late")
    await store.put_if_absent("taken-later", b"first")
    await store.close()
    await clock.advance_ms(4_999)
    assert bucket.get("free") is None
    assert store.late_requests == 2
    await clock.advance_ms(1)
    free, taken = bucket.get("free"), bucket.get("taken-later")
    assert free is not None
    assert free.body == b"late"
    assert taken is not None
    assert taken.body == b"first"
    assert store.late_requests == 0


async def test_a_late_delete_removes_what_was_written_since() -> None:
    clock = ManualClock()
    store, bucket = faulty(FaultKind.NONE, Fault(FaultKind.LAND_LATE, late_ms=1_000), clock=clock)
    await store.put_if_absent("a", b"x")
    with pytest.raises(StoreUnknown):
        await store.delete("a")
    assert bucket.get("a") is not None
    await clock.advance_ms(1_000)
    assert bucket.get("a") is None


async def test_late_requests_can_be_lost_for_good() -> None:
    clock = ManualClock()
    store, bucket = faulty(Fault(FaultKind.LAND_LATE, late_ms=1_000), clock=clock)
    with pytest.raises(StoreUnknown):
        await store.put_if_absent("a", b"x")
    store.forget_late()
    await clock.advance_ms(2_000)
    assert bucket.get("a") is None
    assert store.late_requests == 0


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.NONE])
async def test_a_failed_read_is_never_absence(kind: FaultKind) -> None:
    store, _ = faulty(FaultKind.NONE, kind, kind)
    await store.put_if_absent("a", b"x")
    expected = StoreUnavailable if kind is FaultKind.UNAVAILABLE else StoreUnknown
    with pytest.raises(expected):
        await store.read("a")
    with pytest.raises(expected):
        await store.list_after("", "", 1)
    assert await store.read("a") is not None


async def test_a_stalled_request_is_sent_after_the_stall() -> None:
    clock = ManualClock()
    store, bucket = faulty(Fault(stall_ms=3_000), clock=clock)
    put = asyncio.ensure_future(store.put_if_absent("a", b"x"))
    await clock.advance_ms(2_999)
    assert bucket.get("a") is None
    await clock.advance_ms(1)
    await put
    assert bucket.get("a") is not None


async def test_a_script_can_select_requests() -> None:
    bucket = MemoryBucket()
    plan = ScriptedFaults([FaultKind.FAIL_BEFORE], lambda operation, key: key == "queue.json")
    store = FaultyStore(MemoryStore(bucket), ManualClock(), plan)
    await store.put_if_absent("log/1/1", b"x")
    with pytest.raises(StoreUnknown):
        await store.put_if_absent("queue.json", b"x")
    await store.put_if_absent("queue.json", b"x")


async def test_random_faults_come_at_their_rates_and_the_same_for_the_same_seed() -> None:
    async def run(seed: int) -> FaultyStore:
        rates: dict[FaultKind, float] = {kind: 0.1 for kind in FaultKind if kind is not FaultKind.NONE}
        plan = RandomFaults(random.Random(seed).random, rates, stall_rate=0.1, stall_ms_max=50)
        store = FaultyStore(MemoryStore(), ImpatientClock(), plan)
        for number in range(2_000):
            with suppress(StoreError):
                await store.put_if_absent(f"log/{number}", b"x")
        await settle()
        return store

    first, again, other = await run(1), await run(1), await run(2)
    assert first.met == again.met
    assert first.met != other.met
    assert set(first.met) == {(Operation.PUT_IF_ABSENT, kind) for kind in FaultKind if kind is not FaultKind.NONE}
    assert all(140 < count < 260 for count in first.met.values())

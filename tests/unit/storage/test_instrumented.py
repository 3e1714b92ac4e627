"""Every request is counted once, with its answer, its bytes and its latency."""

import asyncio

import pytest

from osqueue_service.errors import StoreDenied, StoreError, StoreFailed, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.metrics import Registry
from osqueue_service.storage.backends import price_tables
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.store import StoredObject
from osqueue_service.storage.usage import PriceTable, RecentLatency, StoreUsage
from tests.unit.storage.manual_clock import ImpatientClock, ManualClock


class BrokenStore(MemoryStore):
    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self.error = error

    async def read(self, key: str) -> StoredObject | None:
        raise self.error


async def test_counts_requests_bytes_and_latency_by_operation() -> None:
    clock = ImpatientClock()
    store = InstrumentedStore(MemoryStore(clock=clock, put_ms=50, read_ms=10), clock)
    version = await store.put_if_absent("a", b"12345")
    await store.put_if_version("a", b"1234567", version)
    assert await store.read("a") is not None
    assert await store.read("absent") is None
    await store.list_after("", "", 10)
    await store.delete("a")
    operations = store.usage.operations
    assert {kind: (usage.requests, usage.bytes) for kind, usage in operations.items()} == {
        Operation.READ: (2, 7),
        Operation.PUT_IF_ABSENT: (1, 5),
        Operation.PUT_IF_VERSION: (1, 7),
        Operation.LIST: (1, 0),
        Operation.DELETE: (1, 0),
    }
    assert store.usage.requests() == 6
    assert operations[Operation.READ].durations.sum_s == pytest.approx(0.02)
    assert all(usage.in_flight == 0 for usage in operations.values())
    assert store.usage.latency_ms(Operation.PUT_IF_ABSENT, 0.5) == pytest.approx(50, rel=0.25)
    assert store.usage.latency_ms(Operation.READ, 0.99) == pytest.approx(10, rel=0.25)


async def test_a_refusal_is_an_answer_not_an_error() -> None:
    store = InstrumentedStore(MemoryStore(), ManualClock())
    await store.put_if_absent("a", b"x")
    with pytest.raises(StoreRefused):
        await store.put_if_absent("a", b"y")
    usage = store.usage.operations[Operation.PUT_IF_ABSENT]
    assert (usage.requests, usage.refused, usage.errors) == (2, 1, 0)


@pytest.mark.parametrize(
    ("error", "counted_as"),
    [
        (StoreUnknown("lost"), "unknown"),
        (StoreUnavailable("busy"), "unavailable"),
        (StoreDenied("who are you"), "denied"),
        (StoreFailed("disk"), "failed"),
    ],
)
async def test_errors_are_counted_by_kind_and_passed_on(error: StoreError, counted_as: str) -> None:
    store = InstrumentedStore(BrokenStore(error), ManualClock())
    with pytest.raises(type(error)) as raised:
        await store.read("a")
    assert raised.value is error
    usage = store.usage.operations[Operation.READ]
    assert getattr(usage, counted_as) == 1
    assert usage.errors == 1


async def test_a_cancelled_request_is_counted_as_such() -> None:
    clock = ManualClock()
    store = InstrumentedStore(MemoryStore(clock=clock, put_ms=50), clock)
    put = asyncio.ensure_future(store.put_if_absent("a", b"x"))
    await clock.advance_ms(10)
    assert store.usage.operations[Operation.PUT_IF_ABSENT].in_flight == 1
    put.cancel()
    await asyncio.gather(put, return_exceptions=True)
    usage = store.usage.operations[Operation.PUT_IF_ABSENT]
    assert (usage.cancelled, usage.in_flight, usage.errors) == (1, 0, 0)


async def test_costs_what_the_price_table_says_refusals_included() -> None:
    clock = ImpatientClock()
    store = InstrumentedStore(MemoryStore(clock=clock), clock, StoreUsage(clock, PriceTable(put=5, get=0.4, list=6)))
    await store.put_if_absent("a", b"x")
    with pytest.raises(StoreRefused):
        await store.put_if_absent("a", b"x")
    await store.read("a")
    await store.list_after("", "", 1)
    await store.delete("a")
    assert store.usage.cost == pytest.approx((2 * 5 + 0.4 + 6) / 1_000_000)
    assert StoreUsage(clock).cost == 0
    assert price_tables()["s3"].put == 5.00


async def test_shows_its_figures_as_metrics() -> None:
    clock = ImpatientClock()
    store = InstrumentedStore(MemoryStore(clock=clock, put_ms=3), clock, StoreUsage(clock, price_tables()["s3"]))
    await store.put_if_absent("a", b"12345")
    with pytest.raises(StoreRefused):
        await store.put_if_absent("a", b"67890")
    store.usage.prices = PriceTable(put=500_000)
    registry = Registry()
    registry.add(store.usage.families)
    page = registry.render()
    for line in (
        'osqueue_store_requests_total{operation="put_if_absent",outcome="ok"} 1',
        'osqueue_store_requests_total{operation="put_if_absent",outcome="refused"} 1',
        'osqueue_store_bytes_total{operation="put_if_absent"} 10',
        'osqueue_store_requests_in_flight{operation="put_if_absent"} 0',
        'osqueue_store_request_duration_seconds_bucket{operation="put_if_absent",le="0.005"} 2',
        'osqueue_store_cost_total{currency="USD"} 1',
    ):
        assert f"{line}\n" in page


def test_latencies_older_than_a_minute_leave() -> None:
    recent = RecentLatency()
    assert recent.percentile_ms(0, 0.5) == 0
    recent.observe(1_000, 400)
    assert recent.percentile_ms(2_000, 0.5) == pytest.approx(400, rel=0.25)
    assert recent.percentile_ms(59_000, 0.5) == pytest.approx(400, rel=0.25)
    assert recent.percentile_ms(61_000, 0.5) == 0
    for _ in range(99):
        recent.observe(62_000, 10)
    recent.observe(62_000, 1e9)
    assert recent.percentile_ms(62_000, 0.5) == pytest.approx(10, rel=0.25)
    assert recent.percentile_ms(62_000, 1) > 100_000
    assert recent.percentile_ms(1e9, 0.99) == 0

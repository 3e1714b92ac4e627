"""Every exception of an adapter becomes an outcome that the protocol knows, and a denial has to last to be believed."""

import asyncio
import builtins
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import botocore.exceptions
import google.api_core.exceptions
import pytest
import requests.exceptions
import urllib3.exceptions

from osqueue_service.errors import (
    StoreDenied,
    StoreError,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.keys import InvalidKey
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.steady import DENIED_LIMIT_MS, Denials, SteadyStore
from osqueue_service.storage.store import ObjectStore, StoredObject
from tests.unit.storage.manual_clock import ManualClock

CALLS: dict[Operation, Callable[[ObjectStore], Awaitable[Any]]] = {
    Operation.READ: lambda store: store.read("log/1"),
    Operation.PUT_IF_ABSENT: lambda store: store.put_if_absent("log/1", b"x"),
    Operation.PUT_IF_VERSION: lambda store: store.put_if_version("log/1", b"x", "1"),
    Operation.LIST: lambda store: store.list_after("log/", "", 1),
    Operation.DELETE: lambda store: store.delete("log/1"),
}


def _foreign() -> list[type[Exception]]:
    """Every exception class that Python and the SDKs' libraries have."""
    modules = (builtins, botocore.exceptions, urllib3.exceptions, requests.exceptions, google.api_core.exceptions)
    found = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, StoreError)
    }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


FOREIGN = _foreign()


def bare(kind: type[BaseException]) -> BaseException:
    """An instance, whatever its constructor asks for; some cannot even say what they are about."""
    return ExceptionGroup("two", [OSError(), ValueError()]) if kind is ExceptionGroup else kind.__new__(kind)


class ThrowingStore:
    """Answers every request with `error`, while there is one."""

    description = "a store that throws"

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def _throw(self) -> None:
        if self.error is not None:
            raise self.error

    async def read(self, key: str) -> StoredObject | None:
        self._throw()
        return None

    async def put_if_absent(self, key: str, body: bytes) -> str:
        self._throw()
        return "1"

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        self._throw()
        return "2"

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        self._throw()
        return []

    async def delete(self, key: str) -> None:
        self._throw()

    async def close(self) -> None:
        self._throw()


def steady(inner: ObjectStore, clock: ManualClock | None = None) -> SteadyStore:
    return SteadyStore(inner, Denials(clock or ManualClock()))


@pytest.mark.parametrize("around", [steady, lambda inner: InstrumentedStore(inner, ManualClock())])
@pytest.mark.parametrize("operation", CALLS)
async def test_whatever_an_adapter_raises_is_an_unknown_outcome(
    operation: Operation, around: Callable[[ObjectStore], ObjectStore]
) -> None:
    inner = ThrowingStore()
    store = around(inner)
    assert len(FOREIGN) > 150
    for kind in FOREIGN:
        inner.error = bare(kind)
        with pytest.raises(StoreUnknown) as raised:
            await CALLS[operation](store)
        if kind is not StopIteration:  # which Python itself puts another one in place of
            assert kind.__name__ in str(raised.value)
            assert raised.value.__cause__ is inner.error


async def test_an_exception_that_is_no_store_error_is_counted_as_unknown() -> None:
    inner = ThrowingStore()
    store = InstrumentedStore(inner, ManualClock())
    inner.error = KeyError("ETag")
    with pytest.raises(StoreUnknown):
        await store.delete("log/1")
    usage = store.usage.operations[Operation.DELETE]
    assert (usage.unknown, usage.errors, usage.outcomes["ok"]) == (1, 1, 0)


@pytest.mark.parametrize("operation", CALLS)
async def test_what_the_protocol_knows_passes_unchanged(operation: Operation) -> None:
    inner = ThrowingStore()
    store = steady(inner)
    for error in (
        StoreUnknown("lost"),
        StoreUnavailable("busy", retry_after_ms=7),
        StoreDenied("who are you"),
        StoreFailed("disk"),
        InvalidKey("//"),
        StoreRefused("no"),
    ):
        inner.error = error
        with pytest.raises(type(error)) as raised:
            await CALLS[operation](store)
        assert raised.value is error


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_ends_a_task_or_the_process_passes(kind: type[BaseException]) -> None:
    inner = ThrowingStore()
    inner.error = bare(kind)
    with pytest.raises(kind):
        await steady(inner).read("log/1")


async def test_a_key_that_no_object_may_have_is_a_mistake_not_an_outcome() -> None:
    for store in (steady(MemoryStore()), InstrumentedStore(MemoryStore(), ManualClock())):
        with pytest.raises(InvalidKey):
            await store.read("../root")


# --- denials ---


@pytest.mark.parametrize("operation", CALLS)
async def test_a_store_that_denies_from_the_start_says_so_at_once(operation: Operation) -> None:
    inner = ThrowingStore()
    inner.error = StoreDenied("403 AccessDenied")
    with pytest.raises(StoreDenied):
        await CALLS[operation](steady(inner))


@pytest.mark.parametrize("operation", CALLS)
async def test_a_denial_of_what_was_allowed_passes_for_a_while(
    operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    clock, inner = ManualClock(), ThrowingStore()
    store = steady(inner, clock)
    await CALLS[operation](store)
    inner.error = StoreDenied("400 ExpiredToken")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="ExpiredToken"):
                await CALLS[operation](store)
    assert len(caplog.records) == 1, "loudly, and not with every try"
    await clock.advance_ms(DENIED_LIMIT_MS - 1)
    with pytest.raises(StoreUnavailable):
        await CALLS[operation](store)
    await clock.advance_ms(1)
    with pytest.raises(StoreDenied):
        await CALLS[operation](store)


async def test_the_time_counts_anew_after_a_request_that_was_let_in() -> None:
    clock, inner = ManualClock(), ThrowingStore()
    store = steady(inner, clock)
    for _ in range(3):
        inner.error = None
        await store.put_if_absent("log/1", b"")
        inner.error = StoreDenied("403 RequestTimeTooSkewed")
        with pytest.raises(StoreUnavailable):
            await store.put_if_absent("log/2", b"")
        await clock.advance_ms(DENIED_LIMIT_MS * 0.9)


async def test_a_refused_condition_shows_that_the_store_lets_this_broker_in() -> None:
    inner = ThrowingStore()
    store = steady(inner)
    inner.error = StoreRefused("412")
    with pytest.raises(StoreRefused):
        await store.put_if_version("queue.json", b"", "1")
    inner.error = StoreDenied("403")
    with pytest.raises(StoreUnavailable):
        await store.put_if_version("queue.json", b"", "1")


async def test_what_was_allowed_elsewhere_says_nothing() -> None:
    """A policy may allow the self-test's prefix, or reading, and nothing else."""
    inner = ThrowingStore()
    store = steady(inner)
    await store.put_if_absent("selftest/1", b"")
    await store.read("log/1")
    inner.error = StoreDenied("403")
    with pytest.raises(StoreDenied):
        await store.put_if_absent("log/1", b"")


async def test_views_of_one_store_share_what_they_know() -> None:
    clock, inner = ManualClock(), ThrowingStore()
    denials = Denials(clock)
    await SteadyStore(inner, denials).put_if_absent("log/1", b"")
    inner.error = StoreDenied("403")
    with pytest.raises(StoreUnavailable):
        await SteadyStore(inner, denials).put_if_absent("log/1", b"")

"""A leader over an adapter that raises anything, from any operation, at any moment: no term ends by it."""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import pytest

from osqueue_service.errors import Deposed, StorageUnavailable, StoreDenied, StoreFailed
from osqueue_service.leadership import Term
from osqueue_service.leadership.term import CLEAN_UP_PAUSE_MS, CLEAN_UP_PAUSE_MS_MAX
from osqueue_service.log.paths import ROOT, lane_prefix
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.steady import DENIED_LIMIT_MS
from osqueue_service.storage.store import ObjectStore, StoredObject
from tests.unit.leadership.brokers import TestBroker, pass_ms, root_of
from tests.unit.log.virtual import VirtualClock, run
from tests.unit.storage.test_steady import FOREIGN, bare

T = TypeVar("T")

KINDS = [OSError, KeyError, AttributeError, MemoryError, AssertionError, TimeoutError, ValueError]
"""One of each family for what is told of single failures; every class there is takes its turn in the long run."""


class HostileStore:
    """Raises what `turns` says for the request of that number, late (after it was applied) or not; and what `always`
    says for all of a kind."""

    description = "hostile"

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.requests = 0
        self.turns: dict[int, tuple[bool, BaseException]] = {}
        self.always: dict[tuple[Operation, str], BaseException] = {}

    async def _sent(self, operation: Operation, key: str, send: Callable[[], Awaitable[T]]) -> T:
        self.requests += 1
        late, error = self.turns.pop(self.requests, (False, None))
        if error is not None and not late:
            raise error
        for (kind, prefix), fault in self.always.items():
            if kind is operation and key.startswith(prefix):
                raise fault
        answer = await send()
        if error is not None:
            raise error
        return answer

    async def read(self, key: str) -> StoredObject | None:
        return await self._sent(Operation.READ, key, lambda: self._inner.read(key))

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self._sent(Operation.PUT_IF_ABSENT, key, lambda: self._inner.put_if_absent(key, body))

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self._sent(Operation.PUT_IF_VERSION, key, lambda: self._inner.put_if_version(key, body, version))

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return await self._sent(Operation.LIST, prefix, lambda: self._inner.list_after(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._sent(Operation.DELETE, key, lambda: self._inner.delete(key))

    async def close(self) -> None:
        await self._inner.close()


async def lead(bucket: MemoryBucket) -> tuple[HostileStore, Term]:
    hostile = HostileStore(MemoryStore(bucket, clock=VirtualClock(), put_ms=10, read_ms=5))
    broker = TestBroker(bucket, "a", around=hostile)
    return hostile, await broker.elect(skip_wait=True)


async def _work(term: Term) -> None:
    """A term's life in short: commits, a read that is confirmed, a checkpoint in objects, a clean-up, renewals."""
    for step in range(3):
        await term.appender.append(b"record", 1)
        with suppress(StorageUnavailable):  # said so, and nothing else happened
            await term.confirm()
        try:
            await term.publish_checkpoint(term.appender.appended.sequence, os.urandom(300_000), step)
        except Exception:  # noqa: BLE001
            assert not term.lost.over
        await pass_ms(4_000)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_single_exception_at_any_moment_ends_a_candidacy_or_a_term(kind: type[Exception], late: bool) -> None:
    async def scenario() -> int:
        met = moment = 0
        while True:
            moment += 1
            bucket = MemoryBucket()
            hostile = HostileStore(MemoryStore(bucket, clock=VirtualClock(), put_ms=10, read_ms=5))
            hostile.turns[moment] = late, bare(kind)
            term = await TestBroker(bucket, "a", around=hostile).elect(skip_wait=True)
            await _work(term)
            assert not term.lost.over
            await pass_ms(CLEAN_UP_PAUSE_MS * 2)
            assert root_of(bucket).checkpoint.sequence == 4
            assert bucket.keys_after(lane_prefix(1), "", 9) == [], "the clean-up was finished in the end"
            term.end(Deposed("the next moment", epoch=99))
            met += not hostile.turns
            if hostile.turns:
                return met

    assert run(scenario()) > 20


def test_every_class_of_exception_in_a_row_ends_no_term() -> None:
    async def scenario() -> None:
        hostile, term = await lead(MemoryBucket())
        begun = hostile.requests
        for number, kind in enumerate(FOREIGN * 2):
            hostile.turns[begun + 2 * number + 1] = number % 3 == 0, bare(kind)
        while hostile.turns and max(hostile.turns) > hostile.requests:
            await _work(term)
            assert not term.lost.over

    run(scenario())


@pytest.mark.parametrize("fault", [StoreDenied("403"), RuntimeError("a bug"), StoreDenied("501")])
def test_a_clean_up_that_is_never_allowed_ends_no_term_and_asks_ever_more_rarely(fault: Exception) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        hostile, term = await lead(bucket)
        hostile.always[Operation.DELETE, ""] = fault
        await _work(term)
        asked = term._settler.counters.deletes_failed
        await pass_ms(CLEAN_UP_PAUSE_MS_MAX * 10)
        assert not term.lost.over
        assert term._settler.counters.deletes_failed - asked < 30
        assert term._settler.counters.cleanups_failed > 10
        hostile.always.clear()
        await pass_ms(CLEAN_UP_PAUSE_MS_MAX)
        assert bucket.keys_after(lane_prefix(1), "", 9) == []

    run(scenario())


@pytest.mark.parametrize("operation", [Operation.LIST, Operation.READ])
def test_a_clean_up_that_may_not_look_ends_no_term(operation: Operation) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        _, before = await lead(bucket)
        await before.appender.append(b"x", 1)
        before.end(Deposed("killed", epoch=2))
        hostile, term = await lead(bucket)
        hostile.always[operation, "log/"] = StoreDenied("403")
        hostile.always[operation, "checkpoints/"] = StoreDenied("403")
        await _work(term)
        await pass_ms(400_000)
        assert not term.lost.over
        assert term._settler.counters.cleanups_failed > 0

    run(scenario())


def test_a_checkpoint_that_may_not_be_written_ends_no_term() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        hostile, term = await lead(bucket)
        hostile.always[Operation.PUT_IF_ABSENT, "checkpoints/"] = StoreDenied("403")
        await _work(term)
        assert not term.lost.over
        assert term._settler.counters.checkpoints_failed == 3
        hostile.always.clear()
        await _work(term)
        assert root_of(bucket).checkpoint.form == "objects"

    run(scenario())


def test_an_image_that_cannot_be_encoded_ends_no_term() -> None:
    async def scenario() -> None:
        _, term = await lead(MemoryBucket())

        async def image():  # type: ignore[no-untyped-def]
            yield b"begin"
            raise MemoryError

        await term.appender.append(b"x", 1)
        with pytest.raises(MemoryError):
            await term.publish_checkpoint(term.appender.appended.sequence, image(), 0)
        await term.appender.append(b"x", 1)
        assert not term.lost.over

    run(scenario())


@pytest.mark.parametrize("place", [(Operation.PUT_IF_ABSENT, "log/"), (Operation.PUT_IF_VERSION, ROOT)])
def test_a_denial_that_passes_delays_a_leader_and_one_that_lasts_ends_it(place: tuple[Operation, str]) -> None:
    async def scenario() -> None:
        hostile, term = await lead(MemoryBucket())
        await term.appender.append(b"x", 1)
        await pass_ms(10_000)
        for denied_ms, ends in ((DENIED_LIMIT_MS * 0.9, False), (DENIED_LIMIT_MS * 1.2, True)):
            hostile.always[place] = StoreDenied("403 RequestTimeTooSkewed")
            answer = term.appender.append(b"x", 1)
            await pass_ms(denied_ms)
            hostile.always.clear()
            await pass_ms(10_000)
            assert term.lost.over == ends
            if not ends:
                assert answer.result()
        assert isinstance(term.lost.result(), StoreDenied)

    run(scenario())


def test_a_store_that_failed_still_ends_it() -> None:
    async def scenario() -> None:
        hostile, term = await lead(MemoryBucket())
        hostile.always[Operation.PUT_IF_ABSENT, "checkpoints/"] = failure = StoreFailed("fsync")
        await _work_until_lost(term)
        assert term.lost.result() is failure

    run(scenario())


async def _work_until_lost(term: Term) -> None:
    await term.appender.append(b"record", 1)
    with pytest.raises(Exception, match="no longer leads"):
        await term.publish_checkpoint(term.appender.appended.sequence, os.urandom(300_000), 0)

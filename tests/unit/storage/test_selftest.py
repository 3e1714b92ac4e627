"""The self-test accepts a store that keeps its conditions and names what another one gets wrong."""

from collections.abc import Sequence

import pytest

from osqueue_service.errors import ConfigError, StoreDenied, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.ids import SystemIds
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.selftest import RACING_PUTS, TRIES, prove_conditions
from osqueue_service.storage.store import ObjectStore, StoredObject
from osqueue_service.testing.faulty import Fault, FaultKind, FaultyStore, ScriptedFaults
from tests.unit.storage.manual_clock import ImpatientClock


async def prove(store: ObjectStore) -> None:
    await prove_conditions(store, ImpatientClock(), SystemIds())


class IgnoresAbsence(MemoryStore):
    async def put_if_absent(self, key: str, body: bytes) -> str:
        return self.bucket.overwrite(key, body)


class IgnoresVersions(MemoryStore):
    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return self.bucket.overwrite(key, body)


class ReplacesTheMissing(MemoryStore):
    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        if self.bucket.get(key) is None:
            return self.bucket.overwrite(key, body)
        return await super().put_if_version(key, body, version)


class RefusesAndWrites(MemoryStore):
    async def put_if_absent(self, key: str, body: bytes) -> str:
        existed = self.bucket.get(key) is not None
        version = self.bucket.overwrite(key, body)
        if existed:
            raise StoreRefused(key)
        return version


class RefusesTheCurrentVersion(MemoryStore):
    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        raise StoreRefused(key)


class RacesOnCreate(MemoryStore):
    """Checks, then lets others run, then writes."""

    async def put_if_absent(self, key: str, body: bytes) -> str:
        found = await self.read(key)
        if found is not None:
            raise StoreRefused(key)
        await self._clock.sleep_ms(0)
        return self.bucket.overwrite(key, body)


class RacesOnReplace(MemoryStore):
    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        found = await self.read(key)
        if found is None or found.version != version:
            raise StoreRefused(key)
        await self._clock.sleep_ms(0)
        return self.bucket.overwrite(key, body)


class KeepsVersions(MemoryStore):
    """Replaces as asked, and calls it the same version."""

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        await super().put_if_version(key, body, version)
        self.bucket._objects[key] = StoredObject(body, version)
        return version


class ReadsStale(MemoryStore):
    async def read(self, key: str) -> StoredObject | None:
        found = await super().read(key)
        return StoredObject(b"old", found.version) if found else None


class ListsNothing(MemoryStore):
    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return []


class KeepsTheDeleted(MemoryStore):
    async def delete(self, key: str) -> None:
        pass


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        (IgnoresAbsence(), "accepted a put-if-absent of an object that exists"),
        (IgnoresVersions(), "accepted a put-if-version with an outdated version"),
        (ReplacesTheMissing(), "accepted a put-if-version of a missing object"),
        (RefusesAndWrites(), "after a refused put-if-absent a read showed"),
        (RefusesTheCurrentVersion(), "refused a put-if-version with the current version"),
        (RacesOnCreate(), f"accepted {RACING_PUTS} of {RACING_PUTS} racing puts with the same put-if-absent"),
        (RacesOnReplace(), f"accepted {RACING_PUTS} of {RACING_PUTS} racing puts with the same put-if-version"),
        (KeepsVersions(), "kept its version"),
        (ReadsStale(), "after a put-if-absent a read showed"),
        (ListsNothing(), "listed []"),
        (KeepsTheDeleted(), "a deleted object could still be read"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, MemoryStore) else "",
)
async def test_names_the_store_and_what_it_gets_wrong(store: MemoryStore, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        await prove(store)
    assert str(error.value).startswith("memory: this store cannot hold a queue")
    assert problem in str(error.value)
    if not isinstance(store, KeepsTheDeleted):
        assert store.bucket.keys_after("", "", 10) == []


async def test_accepts_a_store_that_refuses_what_it_must_and_leaves_nothing_behind() -> None:
    store = MemoryStore()
    await store.put_if_absent("queue.json", b"{}")
    await prove(store)
    assert store.bucket.keys_after("", "", 10) == ["queue.json"]


async def test_removes_what_a_killed_self_test_left_but_not_what_another_is_using() -> None:
    store = MemoryStore()
    now_ms = ImpatientClock().wall_ms()
    await store.put_if_absent(f"selftest/{now_ms - 7_200_000:015}-OLD/single", b"")
    await store.put_if_absent(f"selftest/{now_ms - 60_000:015}-NEW/single", b"")
    await prove(store)
    assert store.bucket.keys_after("", "", 10) == [f"selftest/{now_ms - 60_000:015}-NEW/single"]


@pytest.mark.parametrize("position", range(28))
@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER])
async def test_one_unanswered_request_proves_nothing_against_a_store(kind: FaultKind, position: int) -> None:
    faults = [Fault()] * position + [Fault(kind)]
    await prove(FaultyStore(MemoryStore(), ImpatientClock(), ScriptedFaults(faults)))


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.FAIL_BEFORE, StoreUnknown), (FaultKind.UNAVAILABLE, StoreUnavailable)]
)
async def test_a_store_that_never_answers_is_not_proved_and_not_accused(
    kind: FaultKind, error: type[Exception]
) -> None:
    store = FaultyStore(MemoryStore(), ImpatientClock(), ScriptedFaults([kind] * 200))
    with pytest.raises(error):
        await prove(store)
    assert sum(store.met.values()) >= TRIES


async def test_a_store_that_denies_access_is_a_wrong_setting() -> None:
    class Denies(MemoryStore):
        async def put_if_absent(self, key: str, body: bytes) -> str:
            raise StoreDenied("no such bucket")

    with pytest.raises(ConfigError, match=r"memory: no such bucket.*check credentials"):
        await prove(Denies())

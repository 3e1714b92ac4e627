"""The self-test accepts a store that keeps its conditions and names what another one gets wrong."""

import random
from collections.abc import Sequence

import pytest

from osqueue_service.errors import ConfigError, StoreDenied, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.ids import SystemIds
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.selftest import (
    FAILURES_MAX,
    FALSE_REFUSALS_MAX,
    RACES,
    RACES_AGAIN,
    RACING_PUTS,
    WATCH_MS,
    prove_conditions,
    watch_conditions,
)
from osqueue_service.storage.store import ObjectStore, StoredObject
from osqueue_service.testing.faulty import Fault, FaultKind, FaultyStore, RandomFaults, ScriptedFaults
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


@pytest.mark.parametrize("position", range(48))
@pytest.mark.parametrize(
    "kind", [FaultKind.UNAVAILABLE, FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER, FaultKind.REFUSED_AFTER]
)
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
    assert sum(store.met.values()) == FAILURES_MAX + 2, "tidying asks once before and once behind"


async def test_a_store_that_denies_access_is_a_wrong_setting() -> None:
    class Denies(MemoryStore):
        async def put_if_absent(self, key: str, body: bytes) -> str:
            raise StoreDenied("no such bucket")

    with pytest.raises(ConfigError, match=r"memory: no such bucket.*check credentials"):
        await prove(Denies())


# --- races, and stores that fail ---


async def test_a_store_with_a_second_winner_in_one_race_of_five_does_not_pass() -> None:
    source = random.Random(7)
    for _ in range(40):
        with pytest.raises(ConfigError, match="cannot hold a queue"):
            await prove(RacesNowAndThen(0.2, source))


class RacesNowAndThen(MemoryStore):
    """Checks and writes in one step, except in some races: `rate` of them."""

    def __init__(self, rate: float, source: random.Random) -> None:
        super().__init__()
        self._rate, self._draw = rate, source.random
        self.races = 0
        self._open: dict[tuple[str, str], bool] = {}

    async def _slow(self, key: str, version: str) -> bool:
        """Whether this race is one of the bad ones: drawn by the first put, told to all."""
        if (key, version) not in self._open:
            self._open[key, version] = self._draw() < self._rate
            self.races += 1
        return self._open[key, version]

    async def put_if_absent(self, key: str, body: bytes) -> str:
        if await self._slow(key, "") and self.bucket.get(key) is None:
            await self._clock.sleep_ms(0)
            return self.bucket.overwrite(key, body)
        return await super().put_if_absent(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        found = self.bucket.get(key)
        if await self._slow(key, version) and found is not None and found.version == version:
            await self._clock.sleep_ms(0)
            return self.bucket.overwrite(key, body)
        return await super().put_if_version(key, body, version)


async def test_as_many_races_are_run_as_the_stated_probability_rests_on() -> None:
    store = RacesNowAndThen(0.0, random.Random(1))
    await prove(store)
    assert store.races >= 2 * RACES
    assert 1 - 0.8**RACES >= 0.999


async def test_a_store_that_holds_a_queue_is_raced_little() -> None:
    store = RacesNowAndThen(0.0, random.Random(1))
    await prove_conditions(store, ImpatientClock(), SystemIds(), races=RACES_AGAIN)
    assert 2 * RACES_AGAIN <= store.races < 2 * RACES


@pytest.mark.parametrize("kinds", [(FaultKind.FAIL_BEFORE,), (FaultKind.FAIL_AFTER,), tuple(FaultKind)[1:]])
async def test_a_store_that_fails_three_puts_of_ten_passes_every_time(kinds: tuple[FaultKind, ...]) -> None:
    for seed in range(20):
        clock = ImpatientClock()
        plan = RandomFaults(random.Random(seed).random, dict.fromkeys(kinds, 0.3 / len(kinds)), late_ms_max=1_000)
        await prove_conditions(FaultyStore(MemoryStore(), clock, plan), clock, SystemIds())


class RefusesFalsely(MemoryStore):
    """Refuses puts whose condition holds: `times` times, of the kind that `what` names."""

    def __init__(self, what: str, times: int) -> None:
        super().__init__()
        self._what, self._left = what, times

    async def put_if_absent(self, key: str, body: bytes) -> str:
        self._perhaps("create")
        return await super().put_if_absent(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        found = self.bucket.get(key)
        if found is not None and found.version == version:
            self._perhaps("replace")
        return await super().put_if_version(key, body, version)

    def _perhaps(self, what: str) -> None:
        if what == self._what and self._left:
            self._left -= 1
            raise StoreRefused("412, for no reason")


@pytest.mark.parametrize("what", ["create", "replace"])
async def test_one_false_refusal_makes_no_store_unfit_and_three_in_a_row_do(what: str) -> None:
    await prove(RefusesFalsely(what, 1))
    await prove(RefusesFalsely(what, FALSE_REFUSALS_MAX - 1))
    with pytest.raises(ConfigError, match="3 times in a row"):
        await prove(RefusesFalsely(what, FALSE_REFUSALS_MAX))


async def test_an_exception_of_the_client_is_no_verdict() -> None:
    class Stumbles(MemoryStore):
        stumbles = 2

        async def put_if_absent(self, key: str, body: bytes) -> str:
            if self.stumbles:
                self.stumbles -= 1
                raise KeyError("ETag")
            return await super().put_if_absent(key, body)

    await prove(Stumbles())


async def test_a_leader_goes_on_racing_and_finds_a_rare_second_winner() -> None:
    class Counting(ImpatientClock):
        passed_ms = 0.0

        async def sleep_ms(self, delay_ms: float) -> None:
            self.passed_ms += delay_ms
            await super().sleep_ms(delay_ms)

    clock = Counting()
    store = RacesNowAndThen(0.02, random.Random(3))
    with pytest.raises(ConfigError, match="cannot hold a queue"):
        await watch_conditions(store, clock, SystemIds())
    assert store.races > 4
    assert clock.passed_ms / store.races > WATCH_MS * 0.3
    assert store.bucket.keys_after("", "", 10) == []


async def test_the_watch_outlives_a_store_that_does_not_answer() -> None:
    clock = ImpatientClock()
    store = RacesNowAndThen(1.0, random.Random(3))
    faulty = FaultyStore(store, clock, ScriptedFaults([FaultKind.FAIL_BEFORE] * 500))
    with pytest.raises(ConfigError):
        await watch_conditions(faulty, clock, SystemIds())

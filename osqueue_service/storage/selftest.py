"""Proof, on the real bucket, that conditional puts hold.

Everything that is safe about the queue rests on a store that refuses a put whose condition
does not hold. Some answer 200 to any condition, some only in a race: a broker does not start
on a store that fails here, and a leader goes on racing now and then.

What is not answered, or refused without a reason once or twice, proves nothing and is asked
again: only an answer that no correct store can give is held against a store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError, StoreDenied, StoreError, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.ids import IdSource
from osqueue_service.storage.steady import Denials, SteadyStore
from osqueue_service.storage.store import ObjectStore, StoredObject
from osqueue_service.storage.throttled import undelayed

log = logging.getLogger(__name__)

SELFTEST_PREFIX = "selftest/"

RACING_PUTS = 4
"""Puts sent at the same moment for the same object, of which one may win."""
RACES = 32
"""Races of each kind. A store that lets a second winner through in one race of five is caught with a probability of
0.9992 (1 - 0.8 ** 32); in one of ten, 0.966: the watch of a leader finds that one."""
RACES_AGAIN = 4
"""Races of each kind where a queue has begun already: whoever began it raced in full, and its leaders race on."""
TRIES_PER_RACE = 3
"""Races begun for each that is wanted, at most: one whose puts were mostly not answered does not count."""
WATCH_MS = 600_000
"""How often a leader races again: a second winner in one race of twenty is found within a day with 0.999."""

FAILURES_MAX = 12
"""Requests without an answer, in a row, after which nothing can be proved."""
SILENCE_MS = 30_000
"""The same for a store that lets every request wait: nothing can be proved after this long without an answer."""
FALSE_REFUSALS_MAX = 3
"""Refusals of a put whose condition holds, in a row, that make a store unfit."""

_PAUSE_MS = 300
_SAME_OBJECT_PAUSE_MS = 1_100
# Leftovers of a self-test that was killed are removed when they are this old.
_STALE_MS = 3_600_000
_STALE_MAX = 1_000

T = TypeVar("T")
Put = Callable[[bytes], Awaitable[str]]


async def prove_conditions(store: ObjectStore, clock: Clock, ids: IdSource, *, races: int = RACES) -> None:
    """Return when the store refused all it must refuse; leave nothing behind. `races`: of each kind.

    `ConfigError` names the store and what it got wrong, or that it denies access. A store
    that answers too little to tell is `StoreUnavailable` or `StoreUnknown`: it proved nothing.
    """
    run = _Run(store, clock, ids)
    await run.remove_stale()
    try:
        await run.prove(races)
    except StoreDenied as error:
        raise ConfigError(f"{store.description}: {error}; check credentials, permissions and the name") from error
    finally:
        await run.clean_up()


async def watch_conditions(store: ObjectStore, clock: Clock, ids: IdSource) -> None:
    """Race now and then, for as long as the store keeps its conditions; `ConfigError` says that it does not."""
    while True:
        await clock.sleep_ms(WATCH_MS * (0.5 + ids.jitter()))
        run = _Run(store, clock, ids)
        try:
            await run.race_both()
        except StoreError as trouble:
            log.info("the watch over the store's conditions could not race: %s", trouble)
        finally:
            await run.clean_up()


class _Run:
    """One test, under its own keys."""

    def __init__(self, store: ObjectStore, clock: Clock, ids: IdSource) -> None:
        self._store = SteadyStore(undelayed(store), Denials(clock))
        self._clock = clock
        self._ids = ids
        self._prefix = f"{SELFTEST_PREFIX}{clock.wall_ms():015}-{ids.nonce()}/"
        self._written: list[str] = []
        self._heard()

    async def prove(self, wanted: int) -> None:
        await self._prove_each()
        created = replaced = 0
        waiting: tuple[str, StoredObject] | None = None
        for _ in range(wanted * TRIES_PER_RACE):
            key = self._key()
            races = [self._race("put-if-absent", key, None)]
            if waiting is not None:
                races.append(self._race("put-if-version", *waiting))  # for the object of the race before
            (found, proved), *others = await _all(races)
            created += proved
            replaced += sum(proved for _, proved in others)
            waiting = None if found is None else (key, found)
            if min(created, replaced) >= wanted:
                return
        if not created or not replaced:
            raise StoreUnknown(f"{self._store.description}: too few of its answers arrived to tell whether it is safe")
        log.warning(
            "the store answered %d and %d races of puts, fewer than the %d that hardly miss a second winner",
            created, replaced, wanted,
        )  # fmt: skip

    async def race_both(self) -> None:
        """One race of each kind."""
        key = self._key()
        found, _ = await self._race("put-if-absent", key, None)
        if found is not None:
            await self._race("put-if-version", key, found)

    async def clean_up(self) -> None:
        for first in range(0, len(self._written), RACING_PUTS):
            some = self._written[first : first + RACING_PUTS]
            gone = await asyncio.gather(*(self._store.delete(key) for key in some), return_exceptions=True)
            if any(isinstance(outcome, BaseException) for outcome in gone):
                # The proof does not depend on it, and a later start removes what is left.
                return

    async def remove_stale(self) -> None:
        try:
            oldest_kept = f"{SELFTEST_PREFIX}{self._clock.wall_ms() - _STALE_MS:015}"
            for key in await self._store.list_after(SELFTEST_PREFIX, "", _STALE_MAX):
                if key < oldest_kept:
                    await self._store.delete(key)
        except StoreError:
            # The start does not depend on tidying; the proof will say what is wrong with the store.
            return

    def _key(self) -> str:
        self._written.append(f"{self._prefix}{len(self._written):04}")
        return self._written[-1]

    # --- one request at a time -------------------------------------------------------------------------------------

    async def _prove_each(self) -> None:
        store, single = self._store, self._key()
        first = await self._must_put("put-if-absent of a new object", single, b"1", self._create(single), None)
        await self._must_refuse("put-if-absent", "of an object that exists", single, self._create(single), first)
        second = await self._must_put(
            "put-if-version with the current version", single, b"3", self._swap(single, first.version), first
        )
        if second.version == first.version:
            raise self._wrong("a replaced object kept its version")
        outdated = self._swap(single, first.version)
        await self._must_refuse("put-if-version", "with an outdated version", single, outdated, second)
        missing = self._key()
        nowhere = self._swap(missing, second.version)
        await self._must_refuse("put-if-version", "of a missing object", missing, nowhere, None)
        other = self._key()
        await self._must_put("put-if-absent of a new object", other, b"1", self._create(other), None)
        listed = list(await self._answered(lambda: store.list_after(self._prefix, "", 10)))
        if listed != [single, other]:
            raise self._wrong(f"listed {listed} just after {[single, other]} were written")
        await self._answered(lambda: store.delete(single))
        if await self._answered(lambda: store.read(single)) is not None:
            raise self._wrong("a deleted object could still be read")

    def _create(self, key: str) -> Put:
        return lambda body: self._store.put_if_absent(key, body)

    def _swap(self, key: str, version: str) -> Put:
        return lambda body: self._store.put_if_version(key, body, version)

    async def _must_put(self, what: str, key: str, body: bytes, put: Put, before: StoredObject | None) -> StoredObject:
        """Put where the condition holds, until the object is known to be there."""
        refusals = 0
        while True:
            try:
                version = await put(body)
            except StoreRefused as error:
                refusals += 1
                reason: StoreError = error
            except (StoreUnknown, StoreUnavailable) as error:
                reason = error
                await self._pause(error)
            else:
                self._heard()
                return await self._must_hold(key, StoredObject(body, version), f"a {what.partition(' ')[0]}")
            found = await self._answered(lambda: self._store.read(key))
            if found is not None and found.body == body:
                return found  # the answer was lost, or met an earlier try of ours
            if found != before:
                raise self._wrong(f"after a {what} a read showed {found}, not {before}")
            if refusals == FALSE_REFUSALS_MAX:
                raise self._wrong(f"refused a {what}, {refusals} times in a row ({reason})")

    async def _must_refuse(self, what: str, why: str, key: str, put: Put, there: StoredObject | None) -> None:
        while True:
            try:
                await put(b"2")
            except StoreRefused:
                self._heard()
                await self._must_hold(key, there, f"a refused {what}")
                return
            except (StoreUnknown, StoreUnavailable) as error:
                await self._pause(error)
                await self._must_hold(key, there, f"an unanswered {what} {why}")
            else:
                raise self._wrong(f"accepted a {what} {why}")

    async def _must_hold(self, key: str, expected: StoredObject | None, after: str) -> StoredObject:
        found = await self._answered(lambda: self._store.read(key))
        if found != expected:
            raise self._wrong(f"after {after} a read showed {found}, not {expected}")
        return found  # type: ignore[return-value]  # None only where None was expected

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        while True:
            try:
                answer = await ask()
            except (StoreUnknown, StoreUnavailable) as error:
                await self._pause(error)
            else:
                self._heard()
                return answer

    async def _pause(self, error: StoreError) -> None:
        """Wait before the same request is sent again; after too many in vain, raise why."""
        self._failures += 1
        if self._failures >= FAILURES_MAX or self._clock.monotonic_ms() - self._heard_ms >= SILENCE_MS:
            raise error
        # GCS takes about one write a second per object.
        pause_ms = _SAME_OBJECT_PAUSE_MS if isinstance(error, StoreUnavailable) else _PAUSE_MS
        await self._clock.sleep_ms(pause_ms * (1 + self._ids.jitter()))

    def _heard(self) -> None:
        """The store has answered."""
        self._failures = 0
        self._heard_ms = self._clock.monotonic_ms()

    # --- races -----------------------------------------------------------------------------------------------------

    async def _race(self, what: str, key: str, there: StoredObject | None) -> tuple[StoredObject | None, bool]:
        """What the object is after the race, and whether enough was answered for the race to count."""
        put = self._create(key) if there is None else self._swap(key, there.version)
        bodies = [f"{what} racer {number} {self._ids.nonce()}".encode() for number in range(RACING_PUTS)]
        for tries_left in reversed(range(FALSE_REFUSALS_MAX)):
            outcomes = await asyncio.gather(*(put(body) for body in bodies), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException) and not isinstance(
                    outcome, StoreRefused | StoreUnavailable | StoreUnknown
                ):
                    raise outcome
            winners = _winners(bodies, outcomes)
            if len(winners) > 1:
                raise self._wrong(f"accepted {len(winners)} of {RACING_PUTS} racing puts with the same {what}")
            answered = sum(isinstance(outcome, str | StoreRefused) for outcome in outcomes)
            if winners:
                await self._must_hold(key, winners[0], f"a race of puts with the same {what}")
                return winners[0], 2 * answered >= RACING_PUTS
            found = await self._answered(lambda: self._store.read(key))
            if found is not None and found.body in bodies:
                return found, 2 * answered >= RACING_PUTS  # the winner's answer was lost, or met its own first try
            if found != there:
                raise self._wrong(f"after a race of puts with the same {what} a read showed {found}, not {there}")
            if answered < RACING_PUTS:
                return None, False  # the winner may still be on its way
            if not tries_left:
                raise self._wrong(f"refused all racing puts with the same {what}, {FALSE_REFUSALS_MAX} times in a row")
        raise AssertionError("unreachable")

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(
            f"{self._store.description}: this store cannot hold a queue, acknowledged jobs would be lost: {problem}. "
            "Use a store (or a newer version of it) that honours If-None-Match and If-Match on every put"
        )


def _winners(bodies: Sequence[bytes], outcomes: Sequence[str | BaseException]) -> list[StoredObject]:
    return [
        StoredObject(body, outcome) for body, outcome in zip(bodies, outcomes, strict=True) if isinstance(outcome, str)
    ]


async def _all(races: Sequence[Awaitable[T]]) -> list[T]:
    """All answers, or the first error, once every race has ended."""
    outcomes = await asyncio.gather(*races, return_exceptions=True)
    answers: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers

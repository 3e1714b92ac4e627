"""Proof, on the real bucket, that conditional puts hold.

Everything that is safe about the queue rests on a store that refuses a put whose condition
does not hold. Some answer 200 to any condition, some only in a race: a broker does not start
on a store that fails here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError, StoreDenied, StoreError, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.ids import IdSource
from osqueue_service.storage.store import ObjectStore, StoredObject

SELFTEST_PREFIX = "selftest/"

RACING_PUTS = 6
"""Puts sent at the same moment for the same object, of which one may win."""

TRIES = 5
"""How often the whole test begins anew because the store did not answer one of its requests."""

_PAUSE_MS = 300
_SAME_OBJECT_PAUSE_MS = 1_100
# Leftovers of a self-test that was killed are removed when they are this old.
_STALE_MS = 3_600_000
_STALE_MAX = 200


async def prove_conditions(store: ObjectStore, clock: Clock, ids: IdSource) -> None:
    """Return when the store refused all it must refuse; leave nothing behind.

    `ConfigError` names the store and what it got wrong, or that it denies access. A store
    that answers too little to tell is `StoreUnavailable` or `StoreUnknown`: it proved nothing.
    """
    await _remove_stale(store, clock)
    for tries_left in reversed(range(TRIES)):
        run = _Run(store, clock, f"{SELFTEST_PREFIX}{clock.wall_ms():015}-{ids.nonce()}/")
        try:
            await run.prove()
            return
        except StoreDenied as error:
            raise ConfigError(f"{store.description}: {error}; check credentials, permissions and the name") from error
        except (StoreUnknown, StoreUnavailable):
            # Nothing is proved and nothing disproved: an unanswered put may be what made the next one refused.
            if not tries_left:
                raise
            await clock.sleep_ms(_PAUSE_MS * (1 + ids.jitter()))
        finally:
            await run.clean_up()


class _Run:
    """One try, under its own keys."""

    def __init__(self, store: ObjectStore, clock: Clock, prefix: str) -> None:
        self._store = store
        self._clock = clock
        self._single = f"{prefix}single"
        self._raced = f"{prefix}raced"
        self._missing = f"{prefix}missing"

    async def prove(self) -> None:
        store, single = self._store, self._single
        first = await self._must_put("put-if-absent of a new object", lambda: store.put_if_absent(single, b"1"))
        await self._must_hold(single, StoredObject(b"1", first), "a put-if-absent")
        await self._must_refuse("put-if-absent of an object that exists", lambda: store.put_if_absent(single, b"2"))
        await self._must_hold(single, StoredObject(b"1", first), "a refused put-if-absent")

        second = await self._must_put(
            "put-if-version with the current version", lambda: store.put_if_version(single, b"3", first)
        )
        if second == first:
            raise self._wrong("a replaced object kept its version")
        await self._must_refuse(
            "put-if-version with an outdated version", lambda: store.put_if_version(single, b"4", first)
        )
        await self._must_hold(single, StoredObject(b"3", second), "a refused put-if-version")

        await self._must_refuse(
            "put-if-version of a missing object", lambda: store.put_if_version(self._missing, b"5", second)
        )
        if await store.read(self._missing) is not None:
            raise self._wrong("a refused put-if-version created an object")

        raced = await self._race("put-if-absent", lambda body: self._store.put_if_absent(self._raced, body))
        await self._race("put-if-version", lambda body: self._store.put_if_version(self._raced, body, raced))
        await self._must_list_and_delete()

    async def clean_up(self) -> None:
        for key in (self._single, self._raced, self._missing):
            try:
                await self._store.delete(key)
            except StoreError:
                # The proof does not depend on it, and a later start removes what is left.
                return

    async def _must_put(self, what: str, put: Callable[[], Awaitable[str]]) -> str:
        try:
            return await self._answered(put)
        except StoreRefused as error:
            raise self._wrong(f"refused a {what} ({error})") from error

    async def _must_refuse(self, what: str, put: Callable[[], Awaitable[str]]) -> None:
        try:
            await self._answered(put)
        except StoreRefused:
            return
        raise self._wrong(f"accepted a {what}")

    async def _answered(self, put: Callable[[], Awaitable[str]]) -> str:
        """Repeat a put that was certainly not applied: GCS takes about one write a second per object."""
        for _ in range(TRIES):
            try:
                return await put()
            except StoreUnavailable:
                await self._clock.sleep_ms(_SAME_OBJECT_PAUSE_MS)
        return await put()

    async def _must_hold(self, key: str, expected: StoredObject, after: str) -> None:
        found = await self._store.read(key)
        if found != expected:
            raise self._wrong(f"after {after} a read showed {found}, not {expected}")

    async def _race(self, what: str, put: Callable[[bytes], Awaitable[str]]) -> str:
        """The version of the only winner."""
        bodies = [f"{what} racer {number}".encode() for number in range(RACING_PUTS)]
        outcomes = await asyncio.gather(*(put(body) for body in bodies), return_exceptions=True)
        winners = _winners(bodies, outcomes)
        if len(winners) > 1:
            raise self._wrong(f"accepted {len(winners)} of {RACING_PUTS} racing puts with the same {what}")
        for outcome in outcomes:
            # A racer of unknown outcome may be the winner: then nothing is proved, and a new try is.
            if isinstance(outcome, BaseException) and not isinstance(outcome, StoreRefused | StoreUnavailable):
                raise outcome
        if not winners:
            unavailable = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
            raise unavailable[0] if unavailable else self._wrong(f"refused all racing puts with the same {what}")
        await self._must_hold(self._raced, winners[0], f"a race of puts with the same {what}")
        return winners[0].version

    async def _must_list_and_delete(self) -> None:
        prefix = self._single.removesuffix("single")
        listed = list(await self._store.list_after(prefix, "", 10))
        if listed != [self._raced, self._single]:
            raise self._wrong(f"listed {listed} just after {[self._raced, self._single]} were written")
        await self._store.delete(self._single)
        if await self._store.read(self._single) is not None:
            raise self._wrong("a deleted object could still be read")

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(
            f"{self._store.description}: this store cannot hold a queue, acknowledged jobs would be lost: {problem}. "
            "Use a store (or a newer version of it) that honours If-None-Match and If-Match on every put"
        )


def _winners(bodies: Sequence[bytes], outcomes: Sequence[str | BaseException]) -> list[StoredObject]:
    return [
        StoredObject(body, outcome) for body, outcome in zip(bodies, outcomes, strict=True) if isinstance(outcome, str)
    ]


async def _remove_stale(store: ObjectStore, clock: Clock) -> None:
    try:
        oldest_kept = f"{SELFTEST_PREFIX}{clock.wall_ms() - _STALE_MS:015}"
        for key in await store.list_after(SELFTEST_PREFIX, "", _STALE_MAX):
            if key < oldest_kept:
                await store.delete(key)
    except StoreError:
        # Tidying is no condition of the start; what is wrong with the store, the proof will say.
        return

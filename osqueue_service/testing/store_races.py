"""Part of the suite that every object store must pass: many callers at once, of whom one wins."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from osqueue_service.errors import StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage.store import ObjectStore, StoredObject


class StoreRaces:
    """What `ObjectStore` promises when several write the same objects. Fixtures as in `ObjectStoreConformance`."""

    cas_writers: ClassVar[int] = 8
    cas_increments: ClassVar[int] = 200
    # How many of the writers are at it at the same moment. Fewer waste fewer requests on refusals.
    cas_rivals: ClassVar[int] = 8
    racing_puts: ClassVar[int] = 16
    races: ClassVar[int] = 3

    async def test_of_racing_creates_exactly_one_wins(self, store: ObjectStore, peer: ObjectStore) -> None:
        for round_number in range(self.races):
            key = f"race/{round_number}"
            bodies = [f"racer {number}".encode() for number in range(self.racing_puts)]
            outcomes = await asyncio.gather(
                *((store, peer)[number % 2].put_if_absent(key, body) for number, body in enumerate(bodies)),
                return_exceptions=True,
            )
            await _assert_one_winner(store, key, bodies, outcomes)

    async def test_of_racing_replaces_exactly_one_wins(self, store: ObjectStore, peer: ObjectStore) -> None:
        version = await store.put_if_absent("root", b"before")
        for round_number in range(self.races):
            bodies = [f"round {round_number} racer {number}".encode() for number in range(self.racing_puts)]
            outcomes = await asyncio.gather(
                *(
                    (store, peer)[number % 2].put_if_version("root", body, version)
                    for number, body in enumerate(bodies)
                ),
                return_exceptions=True,
            )
            version = await _assert_one_winner(store, "root", bodies, outcomes)

    async def test_a_counter_swapped_by_many_writers_loses_no_increment(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        counter = _Counter(StoredObject(b"{}", await store.put_if_absent("counter", b"{}")))
        turn = asyncio.Semaphore(self.cas_rivals)
        writers = {f"writer-{number}": (store, peer)[number % 2] for number in range(self.cas_writers)}
        await asyncio.gather(*(_increment(writers[name], counter, name, self.cas_increments, turn) for name in writers))
        found = await peer.read("counter")
        assert found is not None
        assert sum(json.loads(found.body).values()) == self.cas_writers * self.cas_increments

    async def test_readers_see_whole_bodies_with_their_own_versions(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        written = {await store.put_if_absent("root", b"0"): b"0"}
        reading, done = asyncio.Event(), asyncio.Event()

        async def read_on() -> list[StoredObject]:
            seen = []
            while not done.is_set():
                found = await peer.read("root")
                assert found is not None
                seen.append(found)
                reading.set()
            return seen

        readers = [asyncio.ensure_future(read_on()) for _ in range(3)]
        try:
            await reading.wait()
            for number in range(1, 30):
                body = str(number).encode() * (1 if number % 2 else 10_000)
                version = await store.put_if_version("root", body, next(reversed(written)))
                written[version] = body
        finally:
            done.set()
            seen_by_each = await asyncio.gather(*readers)
        order = list(written)
        for seen in seen_by_each:
            assert all(written[version] == body for body, version in seen)
            assert all(order.index(a.version) <= order.index(b.version) for a, b in pairwise(seen))

    async def test_a_cancelled_put_is_unknown_and_can_be_settled(self, store: ObjectStore) -> None:
        for number in range(5):
            key, body = f"log/1/{number}", f"body {number}".encode()
            put = asyncio.ensure_future(store.put_if_absent(key, body))
            await store.read("something")
            put.cancel()
            await asyncio.gather(put, return_exceptions=True)
            while True:
                try:
                    await store.put_if_absent(key, body)
                    break
                except StoreRefused:
                    found = await store.read(key)
                    if found is not None:
                        assert found.body == body
                        break


async def _assert_one_winner(
    store: ObjectStore, key: str, bodies: Sequence[bytes], outcomes: Sequence[str | BaseException]
) -> str:
    """Exactly one put may have happened. Unknown ones count only if it was none of the confirmed."""
    found = await store.read(key)
    assert found is not None
    winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, str)]
    for outcome in outcomes:
        assert isinstance(outcome, str | StoreRefused | StoreUnknown | StoreUnavailable), outcome
    if winners:
        assert [bodies[number] for number in winners] == [found.body]
        assert outcomes[winners[0]] == found.version
    else:
        landed = bodies.index(found.body)
        assert isinstance(outcomes[landed], StoreUnknown)
    return found.version


@dataclass
class _Counter:
    """The counter as somebody last saw it. Writers that all read first would spend most requests on that."""

    latest: StoredObject


async def _increment(store: ObjectStore, counter: _Counter, writer: str, times: int, turn: asyncio.Semaphore) -> None:
    """Add one `times` times. The counter holds each writer's own count, so a swap whose outcome
    is unknown is settled by reading, whoever has written since."""
    for count in range(1, times + 1):
        async with turn:
            while json.loads(counter.latest.body).get(writer, 0) < count:
                await _try_increment(store, counter, writer, count)


async def _try_increment(store: ObjectStore, counter: _Counter, writer: str, count: int) -> None:
    seen = counter.latest
    body = json.dumps(json.loads(seen.body) | {writer: count}).encode()
    try:
        counter.latest = StoredObject(body, await store.put_if_version("counter", body, seen.version))
    except (StoreRefused, StoreUnknown, StoreUnavailable) as error:
        if counter.latest is seen or not isinstance(error, StoreRefused):
            found = await store.read("counter")
            assert found is not None
            counter.latest = found

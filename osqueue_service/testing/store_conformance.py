"""The suite that every object store must pass, ours and yours.

Subclass it in a test module and give it a fixture `store`: a store on an empty bucket,
directory or prefix, closed afterwards. A second fixture `peer` may be another store on the
same bucket, as another broker would have; without it the store is its own peer.

    class TestMyStore(ObjectStoreConformance):
        @pytest.fixture
        async def store(self) -> AsyncIterator[ObjectStore]:
            store = MyStore(...)
            yield store
            await store.close()

Needs pytest and pytest-asyncio.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import pytest

from osqueue_service.errors import StoreRefused
from osqueue_service.storage.keys import KEY_BYTES_MAX, SEGMENT_BYTES_MAX
from osqueue_service.storage.store import ObjectStore
from osqueue_service.testing.store_races import StoreRaces

MALFORMED_KEYS = (
    "",
    "/",
    "/log",
    "log/",
    "log//1",
    ".",
    "..",
    "../log",
    "log/..",
    "log/../../etc/passwd",
    "log/./1",
    "log\\1",
    "log 1",
    "log\n",
    "log\x00",
    "lög",
    "log%2F1",
    "a" * (SEGMENT_BYTES_MAX + 1),
    "a/" * (KEY_BYTES_MAX // 2) + "a",
)

WELL_FORMED_KEYS = (
    "a",
    "queue.json",
    "log/00000000000000000001/00000000000000000002",
    "Upper/lower/MIXED-1_2.3",
    ".hidden",
    "..a",
    "a..",
    "-",
    "_",
    "a" * SEGMENT_BYTES_MAX,
    "d/" * (KEY_BYTES_MAX // 2 - 1) + "dd",
)


class ObjectStoreConformance(StoreRaces):
    """What `ObjectStore` promises, as tests."""

    pytestmark = pytest.mark.asyncio

    # True where a version is a digest of the content (S3's ETag): then only writes of different
    # content are promised to differ, and whoever swaps puts a nonce in every body.
    versions_follow_content: ClassVar[bool] = False

    # False where keys are listed folder by folder (SeaweedFS): `log/1` before `log-1`. That does no harm to
    # the queue: none of its folders has a name that begins with another's and goes on with `-` or `.`.
    lists_in_order_of_bytes: ClassVar[bool] = True

    # Above the page of a listing on every known store, and above the size at which uploads change their way.
    many_keys: ClassVar[int] = 1_005
    large_body_bytes: ClassVar[int] = 9 << 20

    @pytest.fixture
    def peer(self, store: ObjectStore) -> ObjectStore:
        """Another store over the same objects, as a second broker has it; where you can make one, override this."""
        return store

    # --- creating and reading ---

    async def test_says_where_it_is(self, store: ObjectStore) -> None:
        assert store.description

    async def test_reads_none_where_nothing_is(self, store: ObjectStore) -> None:
        assert await store.read("absent") is None
        assert await store.read("absent/deeper") is None

    async def test_a_created_object_is_read_back_with_the_version_of_its_put(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        version = await store.put_if_absent("log/1/1", b"one")
        assert version
        assert await store.read("log/1/1") == (b"one", version)
        assert await peer.read("log/1/1") == (b"one", version)

    async def test_creating_what_exists_is_refused_and_changes_nothing(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        version = await store.put_if_absent("key", b"first")
        with pytest.raises(StoreRefused):
            await peer.put_if_absent("key", b"second")
        assert await store.read("key") == (b"first", version)

    async def test_a_repeated_create_is_refused_and_settled_by_reading(self, store: ObjectStore) -> None:
        await store.put_if_absent("log/1/1", b"mine")
        with pytest.raises(StoreRefused):
            await store.put_if_absent("log/1/1", b"mine")
        found = await store.read("log/1/1")
        assert found is not None
        assert found.body == b"mine"

    # --- replacing ---

    async def test_replacing_the_current_version_changes_body_and_version(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        first = await store.put_if_absent("root", b"first")
        second = await peer.put_if_version("root", b"second", first)
        assert second != first
        assert await store.read("root") == (b"second", second)
        third = await store.put_if_version("root", b"third", second)
        assert await peer.read("root") == (b"third", third)

    async def test_replacing_an_outdated_version_is_refused_and_changes_nothing(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        first = await store.put_if_absent("root", b"first")
        second = await store.put_if_version("root", b"second", first)
        with pytest.raises(StoreRefused):
            await peer.put_if_version("root", b"third", first)
        assert await store.read("root") == (b"second", second)

    async def test_a_repeated_replace_is_refused_and_settled_by_reading(self, store: ObjectStore) -> None:
        first = await store.put_if_absent("root", b"first")
        second = await store.put_if_version("root", b"second", first)
        with pytest.raises(StoreRefused):
            await store.put_if_version("root", b"second", first)
        assert await store.read("root") == (b"second", second)

    async def test_replacing_what_is_not_there_is_refused_and_creates_nothing(self, store: ObjectStore) -> None:
        version = await store.put_if_absent("other", b"other")
        with pytest.raises(StoreRefused):
            await store.put_if_version("absent", b"body", version)
        assert await store.read("absent") is None
        with pytest.raises(StoreRefused):
            await store.put_if_version("no/such/folder", b"body", version)
        assert await store.read("no/such/folder") is None

    async def test_replacing_what_was_deleted_is_refused(self, store: ObjectStore) -> None:
        version = await store.put_if_absent("root", b"first")
        await store.delete("root")
        with pytest.raises(StoreRefused):
            await store.put_if_version("root", b"second", version)
        assert await store.read("root") is None

    async def test_the_version_of_another_object_is_refused(self, store: ObjectStore) -> None:
        mine = await store.put_if_absent("a", b"mine")
        other = await store.put_if_absent("b", b"other")
        with pytest.raises(StoreRefused):
            await store.put_if_version("a", b"body", other)
        assert await store.read("a") == (b"mine", mine)

    async def test_a_version_that_is_none_is_refused(self, store: ObjectStore) -> None:
        version = await store.put_if_absent("a", b"mine")
        with pytest.raises(StoreRefused):
            await store.put_if_version("a", b"body", "no-version-at-all")
        assert await store.read("a") == (b"mine", version)

    async def test_going_back_to_earlier_content_does_not_bring_its_version_back(self, store: ObjectStore) -> None:
        """X, Y, X: whoever saw the first X must not pass for up to date. With a nonce it holds on every store."""
        first = await store.put_if_absent("root", b"X nonce 1")
        between = await store.put_if_version("root", b"Y nonce 2", first)
        last = await store.put_if_version("root", b"X nonce 3", between)
        assert len({first, between, last}) == 3
        with pytest.raises(StoreRefused):
            await store.put_if_version("root", b"Z nonce 4", first)
        if not self.versions_follow_content:
            other = await store.put_if_version("root", b"other", last)
            again = await store.put_if_version("root", b"X nonce 3", other)
            assert again != last
            same = await store.put_if_version("root", b"X nonce 3", again)
            assert same != again

    async def test_a_deleted_and_recreated_object_has_a_new_version(self, store: ObjectStore) -> None:
        first = await store.put_if_absent("root", b"X nonce 1")
        await store.delete("root")
        second = await store.put_if_absent("root", b"X nonce 2")
        assert second != first
        with pytest.raises(StoreRefused):
            await store.put_if_version("root", b"Y nonce 3", first)

    # --- bodies ---

    @pytest.mark.parametrize(
        "body",
        [b"", b"\0", bytes(range(256)), b"\r\n\r\n", b'{"jobs":[]}', b"\x1f\x8b\x08\0not gzip", "grüße".encode()],
        ids=["empty", "nul", "all-bytes", "newlines", "json", "gzip-magic", "utf-8"],
    )
    async def test_any_bytes_come_back_as_they_were(self, store: ObjectStore, body: bytes) -> None:
        version = await store.put_if_absent("body", body)
        assert await store.read("body") == (body, version)
        with pytest.raises(StoreRefused):
            await store.put_if_absent("body", b"other")
        other = await store.put_if_version("body", b"something else", version)
        back = await store.put_if_version("body", body, other)
        assert await store.read("body") == (body, back)

    async def test_a_large_body_comes_back_whole_and_obeys_conditions(self, store: ObjectStore) -> None:
        block = bytes(range(251)) * 1_049
        body = (block * (self.large_body_bytes // len(block) + 1))[: self.large_body_bytes]
        version = await store.put_if_absent("large", body)
        found = await store.read("large")
        assert found is not None
        assert found.version == version
        assert found.body == body
        with pytest.raises(StoreRefused):
            await store.put_if_absent("large", body)
        changed = body[:-1] + b"!"
        second = await store.put_if_version("large", changed, version)
        with pytest.raises(StoreRefused):
            await store.put_if_version("large", body, version)
        found = await store.read("large")
        assert found is not None
        assert found.version == second
        assert found.body == changed

    # --- keys ---

    @pytest.mark.parametrize("key", MALFORMED_KEYS)
    async def test_a_malformed_key_is_an_error_of_the_caller(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError, match="object key"):
            await store.read(key)
        with pytest.raises(ValueError, match="object key"):
            await store.put_if_absent(key, b"body")
        with pytest.raises(ValueError, match="object key"):
            await store.put_if_version(key, b"body", "1")
        with pytest.raises(ValueError, match="object key"):
            await store.delete(key)
        assert await store.list_after("", "", 10) == []

    async def test_well_formed_keys_do_not_disturb_each_other(self, store: ObjectStore) -> None:
        for key in WELL_FORMED_KEYS:
            await store.put_if_absent(key, key.encode())
        for key in WELL_FORMED_KEYS:
            found = await store.read(key)
            assert found is not None
            assert found.body == key.encode()
        assert await store.list_after("", "", 100) == sorted(WELL_FORMED_KEYS)
        for key in WELL_FORMED_KEYS:
            await store.delete(key)
        assert await store.list_after("", "", 100) == []

    # --- listing ---

    async def test_lists_in_order_whatever_the_folders(self, store: ObjectStore) -> None:
        keys = ["log-1", "log.1", "log/1-5", "log/1/2", "log/1/3", "log/10", "log/2", "log0", "logs", "LOG", "_", "z/z"]
        for key in keys:
            await store.put_if_absent(key, b"x")

        def ordered(prefix: str) -> list[str]:
            order = None if self.lists_in_order_of_bytes else _by_folder
            return sorted((key for key in keys if key.startswith(prefix)), key=order)

        for prefix in ("", "l", "log", "log/", "log/1", "log/1/", "z"):
            assert await store.list_after(prefix, "", 100) == ordered(prefix)
            for page in (1, 5):
                walked: list[str] = []
                while found := await store.list_after(prefix, walked[-1] if walked else "", page):
                    walked.extend(found)
                assert walked == ordered(prefix)

    async def test_lists_after_a_key_and_up_to_a_limit(self, store: ObjectStore) -> None:
        for number in range(5):
            await store.put_if_absent(f"log/{number}", b"x")
        assert await store.list_after("log/", "log/1", 2) == ["log/2", "log/3"]
        assert await store.list_after("log/", "log/1.5", 1) == ["log/2"]
        assert await store.list_after("log/", "log/4", 10) == []
        assert await store.list_after("log/", "m", 10) == []
        assert await store.list_after("log/", "a", 1) == ["log/0"]

    async def test_lists_nothing_where_nothing_is(self, store: ObjectStore) -> None:
        assert await store.list_after("", "", 10) == []
        assert await store.list_after("no/such/", "", 10) == []
        await store.put_if_absent("log/1", b"x")
        assert await store.list_after("log/1/", "", 10) == []
        assert await store.list_after("lo/", "", 10) == []

    @pytest.mark.parametrize("prefix", ["/", "//", "../", "a//", "a b", "a/../", "\0"])
    async def test_a_malformed_prefix_is_an_error_of_the_caller(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(ValueError, match="key"):
            await store.list_after(prefix, "", 10)

    async def test_a_listing_sees_what_was_just_written_and_deleted(
        self, store: ObjectStore, peer: ObjectStore
    ) -> None:
        for number in range(10):
            await store.put_if_absent(f"log/{number}", b"x")
            assert await peer.list_after("log/", f"log/{number - 1}" if number else "", 10) == [f"log/{number}"]
        await store.delete("log/4")
        assert await peer.list_after("log/", "log/3", 1) == ["log/5"]

    async def test_walking_many_pages_meets_every_key_once(self, store: ObjectStore) -> None:
        keys = [f"log/1/{number:020}" for number in range(self.many_keys)]
        await _in_parallel(keys, lambda key: store.put_if_absent(key, b"x"))
        assert await store.list_after("log/", "", self.many_keys) == keys
        walked: list[str] = []
        while page := await store.list_after("log/", walked[-1] if walked else "", self.many_keys // 3):
            walked.extend(page)
        assert walked == keys

    # --- deleting ---

    async def test_deletes_and_deletes_again(self, store: ObjectStore, peer: ObjectStore) -> None:
        await store.put_if_absent("log/1/1", b"x")
        await store.put_if_absent("log/1/10", b"y")
        await store.delete("log/1/1")
        assert await peer.read("log/1/1") is None
        await peer.delete("log/1/1")
        await store.delete("never/there")
        assert await store.list_after("", "", 10) == ["log/1/10"]
        await store.put_if_absent("log/1/1", b"again")

    # --- the end ---

    async def test_closing_twice_is_closing_once(self, store: ObjectStore) -> None:
        await store.put_if_absent("a", b"x")
        await store.close()
        await store.close()


def _by_folder(key: str) -> list[str]:
    return key.split("/")


async def _in_parallel(keys: Sequence[str], call: Callable[[str], Awaitable[object]]) -> None:
    limit = asyncio.Semaphore(8)

    async def one(key: str) -> None:
        async with limit:
            await call(key)

    await asyncio.gather(*(one(key) for key in keys))

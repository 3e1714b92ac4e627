"""What the file store promises beyond the conformance suite: crashes, failing disks, ownership, directories."""

import asyncio
import errno
import fcntl
import itertools
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osqueue_service.errors import (
    BrokerLeadershipError,
    ConfigError,
    StoreDenied,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
)
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.folders import OPEN_FOLDERS_MAX
from tests.unit.storage import file_store_writer as writer


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileStore]:
    store = FileStore.open(tmp_path)
    yield store
    await store.close()


@contextmanager
def running_writer(directory: Path, round_name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, writer.__file__, str(directory), round_name]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def everything_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


# --- kill -9 ---


async def test_a_killed_writer_leaves_all_it_was_told_and_only_whole_objects(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_number in range(8):
        with running_writer(tmp_path, f"round-{round_number}") as process:
            assert process.stdout is not None
            # Killed at a different point each time, always in the middle of something.
            for _ in range(37 + 11 * round_number):
                acknowledged.append(process.stdout.readline())
            process.kill()
            acknowledged.extend(line for line in process.stdout if line.endswith("\n"))

        store = FileStore.open(tmp_path)
        store.acquire_ownership()
        assert os.listdir(tmp_path / "tmp") == []
        for line in acknowledged:
            kind, _, name = line.strip().partition(" ")
            found = await store.read("queue.json" if kind == "root" else name)
            assert found is not None, line
            if kind == "root":
                assert int(found.body.split()[0]) >= int(name)
        visible = await store.list_after("log/", "", 1_000_000)
        for key in visible:
            found = await store.read(key)
            assert found is not None
            assert found.body == writer.segment_body(key)
        root = await store.read("queue.json")
        assert root is not None
        assert root.body == writer.root_body(int(root.body.split()[0]))
        await store.close()
    assert len(acknowledged) > 500


# --- ownership ---


async def test_a_directory_has_one_living_owner_whom_the_refusal_names(tmp_path: Path) -> None:
    with running_writer(tmp_path, "10.0.0.7:8081") as process:
        store = FileStore.open(tmp_path)
        with pytest.raises(BrokerLeadershipError) as refusal:
            store.acquire_ownership("10.0.0.8:8081")
        assert str(tmp_path) in str(refusal.value)
        assert f"process {process.pid} at 10.0.0.7:8081" in str(refusal.value)
        assert refusal.value.leader == "10.0.0.7:8081"
        assert not store.owned
        process.kill()
        process.wait()
        store.acquire_ownership("10.0.0.8:8081")
        assert store.owned
        await store.close()


async def test_ownership_ends_with_close(tmp_path: Path, store: FileStore) -> None:
    store.acquire_ownership("first")
    store.acquire_ownership("first, moved")
    assert json.loads((tmp_path / "leader.lock").read_text()) == {"pid": os.getpid(), "address": "first, moved"}
    second = FileStore.open(tmp_path)
    with pytest.raises(BrokerLeadershipError, match="first, moved"):
        second.acquire_ownership("second")
    await store.close()
    assert not store.owned
    second.acquire_ownership("second")
    assert second.owned
    await second.close()


async def test_an_owner_that_does_not_say_who_it_is_still_owns(tmp_path: Path, store: FileStore) -> None:
    with (tmp_path / "leader.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("not json")
        lock.flush()
        with pytest.raises(BrokerLeadershipError, match="in use by another process"):
            store.acquire_ownership()


async def test_only_a_new_owner_empties_the_temporary_folder(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "tmp" / "left behind").write_bytes(b"half a body")
    other = FileStore.open(tmp_path)
    await other.close()
    assert os.listdir(tmp_path / "tmp") == ["left behind"]
    store.acquire_ownership()
    assert os.listdir(tmp_path / "tmp") == []


# --- directories ---


async def test_creates_the_directory_and_reopens_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er"
    store = FileStore.open(path)
    assert store.description == f"file://{path}"
    version = await store.put_if_absent("log/1/1", b"body")
    await store.close()
    store = FileStore.open(str(path))
    assert await store.read("log/1/1") == (b"body", version)
    await store.close()


async def test_refuses_a_directory_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError) as error:
        FileStore.open(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "thesis.txt" in str(error.value)
    assert os.listdir(tmp_path) == ["thesis.txt"]


async def test_accepts_a_fresh_volume_and_a_first_start_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".osqueue.store-4711").write_text("")
    await FileStore.open(tmp_path).close()


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        ('{"kind": "osqueue file store", "layout": 99}', "layout 99"),
        ("", "not a marker"),
        ("[]", "not a marker"),
        ('{"layout"', "not a marker"),
        ("\udcff", "not a marker"),
    ],
)
async def test_refuses_a_marker_it_does_not_know(tmp_path: Path, marker: str, problem: str) -> None:
    (tmp_path / "osqueue.store").write_bytes(marker.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=problem) as error:
        FileStore.open(tmp_path)
    assert str(tmp_path) in str(error.value)


async def test_refuses_a_path_that_is_a_file_or_below_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=str(path)):
            FileStore.open(path)


async def test_refuses_a_directory_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await FileStore.open(tmp_path).close()
    fail(monkeypatch, "open", errno.EROFS, lambda path, flags, *_: bool(flags & os.O_CREAT))
    with pytest.raises(ConfigError, match=f"{tmp_path}.*Read-only file system"):
        FileStore.open(tmp_path)


async def test_refuses_a_file_system_without_links_or_fine_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "link", errno.EPERM)
        with pytest.raises(ConfigError, match=f"{tmp_path}.*does not link files"):
            FileStore.open(tmp_path)
    with monkeypatch.context() as patch:
        utime = os.utime
        patch.setattr(os, "utime", lambda fd, ns: utime(fd, ns=(ns[0] // 10**9 * 10**9,) * 2))
        with pytest.raises(ConfigError, match=f"{tmp_path}.*nanoseconds"):
            FileStore.open(tmp_path)
    await FileStore.open(tmp_path).close()


async def test_reading_only_creates_nothing_and_writes_nothing(tmp_path: Path, store: FileStore) -> None:
    version = await store.put_if_absent("log/1/1", b"body")
    before = everything_in(tmp_path)
    reader = FileStore.open(tmp_path, read_only=True)
    assert await reader.read("log/1/1") == (b"body", version)
    assert await reader.read("log/2/1") is None
    with pytest.raises(StoreDenied):
        await reader.put_if_absent("log/1/2", b"body")
    with pytest.raises(StoreDenied):
        await reader.put_if_version("log/1/1", b"body", version)
    with pytest.raises(StoreDenied):
        await reader.delete("log/1/1")
    await reader.close()
    assert everything_in(tmp_path) == before
    with pytest.raises(ConfigError, match="there is no osqueue store"):
        FileStore.open(tmp_path / "objects", read_only=True)
    with pytest.raises(ConfigError, match="there is no osqueue store"):
        FileStore.open(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


async def test_files_are_private(tmp_path: Path, store: FileStore) -> None:
    await store.put_if_absent("log/1/1", b"body")
    for path in (tmp_path / "objects/log/1/1", tmp_path / "objects/log/1", tmp_path / "objects", tmp_path / "tmp"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


# --- keys that cannot both be names ---


async def test_an_object_cannot_be_the_folder_of_another(store: FileStore) -> None:
    version = await store.put_if_absent("log/1", b"body")
    with pytest.raises(ValueError, match="part of its path is itself an object"):
        await store.put_if_absent("log/1/2", b"body")
    with pytest.raises(ValueError, match="is the folder of other objects"):
        await store.put_if_absent("log", b"body")
    assert await store.read("log") is None
    assert await store.read("log/1/2") is None
    with pytest.raises(StoreRefused):
        await store.put_if_version("log", b"body", version)
    with pytest.raises(StoreRefused):
        await store.put_if_version("log/1/2", b"body", version)
    await store.delete("log")
    await store.delete("log/1/2")
    assert await store.read("log/1") == (b"body", version)


async def test_more_folders_than_are_kept_open(tmp_path: Path, store: FileStore) -> None:
    keys = [f"log/{number}/1" for number in range(OPEN_FOLDERS_MAX + 20)]
    await asyncio.gather(*(store.put_if_absent(key, key.encode()) for key in keys))
    open_before = len(os.listdir("/proc/self/fd"))
    for key in keys:
        found = await store.read(key)
        assert found is not None
        assert found.body == key.encode()
        await store.put_if_version(key, b"new", found.version)
    assert len(os.listdir("/proc/self/fd")) == open_before


# --- folders that become empty ---


async def test_an_emptied_folder_is_removed_and_made_again(tmp_path: Path, store: FileStore) -> None:
    keys = [f"checkpoints/1-1/{part}" for part in range(30)]
    await asyncio.gather(*(store.put_if_absent(key, b"part") for key in keys))
    open_before = len(os.listdir("/proc/self/fd"))
    await asyncio.gather(*(store.delete(key) for key in keys[1:]))
    assert (tmp_path / "objects/checkpoints/1-1").exists()
    await store.delete(keys[0])
    assert not (tmp_path / "objects/checkpoints/1-1").exists()
    assert (tmp_path / "objects/checkpoints").exists()
    assert len(os.listdir("/proc/self/fd")) == open_before - 1
    assert await store.read(keys[0]) is None
    assert await store.list_after("", "", 9) == []
    await store.delete(keys[0])
    await store.put_if_absent(keys[0], b"again")
    assert (await store.read(keys[0])) is not None


async def test_deletes_at_once_leave_no_folder(tmp_path: Path, store: FileStore) -> None:
    keys = [f"checkpoints/1-1/{part}" for part in range(50)]
    await asyncio.gather(*(store.put_if_absent(key, b"part") for key in keys))
    await asyncio.gather(*(store.delete(key) for key in keys))
    assert not (tmp_path / "objects/checkpoints/1-1").exists()


async def test_creating_and_emptying_a_folder_at_once(store: FileStore) -> None:
    """The folder may go under a create's hands. Then the create was certainly not made, and is made when repeated."""

    async def come_and_go(number: int) -> None:
        key = f"log/1/{number}"
        for _ in range(40):
            while True:
                try:
                    await store.put_if_absent(key, b"body")
                    break
                except StoreUnavailable:
                    assert await store.read(key) is None
            assert await store.read(key) is not None
            await store.delete(key)

    await asyncio.gather(*(come_and_go(number) for number in range(3)))


async def test_a_folder_that_another_process_made_anew_is_looked_into(tmp_path: Path, store: FileStore) -> None:
    """It removed the one that we hold open: what we see in that one is not what there is."""
    other = FileStore.open(tmp_path)
    await store.put_if_absent("log/1/1", b"body")
    await other.delete("log/1/1")
    await other.put_if_absent("log/1/2", b"other")
    found = await store.read("log/1/2")
    assert found is not None
    with pytest.raises(StoreRefused):
        await store.put_if_absent("log/1/2", b"mine")
    await store.delete("log/1/2")
    await other.put_if_absent("log/1/3", b"other")
    version = await store.put_if_absent("log/1/4", b"mine")
    assert await other.list_after("log/", "", 9) == ["log/1/3", "log/1/4"]
    await other.put_if_version("log/1/4", b"new", version)
    await other.close()


# --- disks that fail ---


def fail(
    monkeypatch: pytest.MonkeyPatch, call: str, number: int, when: Callable[..., bool] = lambda *_: True
) -> list[object]:
    """Make `os.<call>` fail with `number` where `when(*arguments)`; the list grows with each failure."""
    real = getattr(os, call)
    failures: list[object] = []

    def failing(*arguments: object, **options: object) -> object:
        if when(*arguments):
            failures.append(arguments)
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    return failures


@pytest.mark.parametrize("nth_sync", [0, 1], ids=["of-the-body", "of-the-folder"])
@pytest.mark.parametrize("replacing", [False, True], ids=["create", "replace"])
async def test_after_a_failed_sync_the_store_is_not_used_any_more(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, nth_sync: int, replacing: bool
) -> None:
    version = await store.put_if_absent("root", b"before")
    with monkeypatch.context() as patch:
        syncs = itertools.count()
        failures = fail(patch, "fsync", errno.EIO, lambda fd: next(syncs) >= nth_sync)
        with pytest.raises(StoreFailed, match=r"(?s)Input/output error.*unknown.*must stop"):
            await (store.put_if_version("root", b"after", version) if replacing else store.put_if_absent("a", b"x"))
        assert len(failures) == 1
    for call in (
        store.read("root"),
        store.put_if_absent("b", b"x"),
        store.put_if_version("root", b"x", version),
        store.list_after("", "", 10),
        store.delete("root"),
    ):
        with pytest.raises(StoreFailed):
            await call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["write", "link"])
async def test_a_full_disk_stops_the_store_and_leaves_no_half_object(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    await store.put_if_absent("log/1/1", b"before")
    with monkeypatch.context() as patch:
        fail(patch, call, number)
        with pytest.raises(StoreFailed, match=os.strerror(number)):
            await store.put_if_absent("log/1/2", b"body")
    with pytest.raises(StoreFailed):
        await store.put_if_absent("log/1/2", b"body")
    assert os.listdir(tmp_path / "objects/log/1") == ["1"]
    assert os.listdir(tmp_path / "tmp") == []
    again = FileStore.open(tmp_path)
    await again.put_if_absent("log/1/2", b"body")
    await again.close()


async def test_too_many_open_files_certainly_wrote_nothing_and_passes(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, "open", errno.EMFILE)
        with pytest.raises(StoreUnavailable, match="limit of open files"):
            await store.put_if_absent("log/1/1", b"body")
    await store.put_if_absent("log/1/1", b"body")


async def test_a_body_is_written_whole_however_little_the_system_takes(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:1_000]))
        version = await store.put_if_absent("key", bytes(range(250)) * 50)
    assert await store.read("key") == (bytes(range(250)) * 50, version)


async def test_a_temporary_file_that_a_new_owner_removed_certainly_wrote_nothing(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def empty_then_sync(fd: int) -> None:
        for path in (tmp_path / "tmp").iterdir():
            path.unlink()
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", empty_then_sync)
        with pytest.raises(StoreUnavailable):
            await store.put_if_absent("key", b"body")
    assert await store.read("key") is None
    await store.put_if_absent("key", b"body")


async def test_a_reader_is_shown_nothing_that_is_not_on_disk_yet(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put that was cancelled is settled by reading: what the read shows must not vanish in a power cut."""
    await store.put_if_absent("log/1/1", b"first")
    loop = asyncio.get_running_loop()
    syncing, released = asyncio.Event(), threading.Event()
    fsync, syncs = os.fsync, []

    def slow_folder_sync(fd: int) -> None:
        syncs.append(fd)
        if len(syncs) == 2:
            loop.call_soon_threadsafe(syncing.set)
            assert released.wait(10)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", slow_folder_sync)
    put = asyncio.ensure_future(store.put_if_absent("log/1/2", b"second"))
    await syncing.wait()
    put.cancel()
    read = asyncio.ensure_future(store.read("log/1/2"))
    assert await store.read("log/1/1") is not None
    assert await store.list_after("log/", "", 10) == ["log/1/1", "log/1/2"]
    assert not read.done()
    released.set()
    found = await read
    assert found is not None
    assert found.body == b"second"


async def test_many_threads_never_share_a_temporary_name(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path, threads=16)
    keys = [f"log/1/{number}" for number in range(2_000)]
    await asyncio.gather(*(store.put_if_absent(key, key.encode()) for key in keys))
    for key in keys:
        found = await store.read(key)
        assert found is not None
        assert found.body == key.encode()
    await store.close()

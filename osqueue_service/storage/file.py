"""Objects as files of one directory on a local disk.

A returned put is on disk, name and content, and a crash at any moment leaves whole objects
only: a body is written and synced under a temporary name, then linked (create) or renamed
(replace) to its own, then the folder is synced. After a failed sync nobody knows what is on
disk, so the store refuses everything from then on.

A version is the file's modification time and inode. The time is chosen, not observed: it
rises with every write, so equal content written twice has two versions.

The lock that guards replacing works between processes of one machine, not across NFS.
"""

import errno
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from osqueue_service.clock import Clock, SystemClock
from osqueue_service.errors import (
    BrokerLeadershipError,
    ConfigError,
    StoreDenied,
    StoreError,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.ids import IdSource, SystemIds
from osqueue_service.storage.bodies import read_all, write_all
from osqueue_service.storage.directory import DataDirectory
from osqueue_service.storage.folders import Folders, keys_in
from osqueue_service.storage.keys import InvalidKey, check_key, check_prefix
from osqueue_service.storage.store import ExclusiveStore, StoredObject
from osqueue_service.storage.syncing import sync, warn_unless_proven
from osqueue_service.storage.threads import StoreThreads

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_OUT_OF_HANDLES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class FileStore(ExclusiveStore):
    """An `ObjectStore` in a data directory. Open it with `FileStore.open`."""

    def __init__(self, directory: DataDirectory, *, threads: int, clock: Clock, ids: IdSource, read_only: bool) -> None:
        self._directory = directory
        self._clock = clock
        self._threads = StoreThreads("file", threads)
        self._read_only = read_only
        self._folders = Folders(directory.objects, read_only=read_only)
        self._failure: StoreFailed | None = None
        self._closed = False
        self._write_lock_fd = -1 if read_only else directory.open_write_lock()
        self._temporary_fd = -1 if read_only else os.open(directory.temporary, os.O_RDONLY | os.O_DIRECTORY)
        self._temporary_stem = f"{os.getpid()}-{ids.nonce()}"
        self._temporary_numbers = itertools.count()
        # flock is between open files, so between processes; this lock is between our threads.
        self._replacing = threading.Lock()
        self._state = threading.Condition()
        self._unsynced: dict[str, int] = {}
        self._last_stamp_ns = 0
        # Two processes that write within one millisecond must not choose the same time.
        self._stamp_offset_ns = int(ids.jitter() * 1_000_000)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        threads: int = 4,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        read_only: bool = False,
    ) -> "FileStore":
        """Open the store in `path`, creating it where there is nothing or an empty directory.

        `threads` is how many creates run at once. With `read_only` nothing is created or
        synced: for looking at a store that a broker may be using. `ConfigError` names the
        directory when it cannot be used. Blocks for some milliseconds.
        """
        directory = DataDirectory(Path(path), read_only=read_only)
        if not read_only:
            warn_unless_proven(directory.path)
        try:
            store = cls(
                directory,
                threads=threads,
                clock=clock if clock is not None else SystemClock(),
                ids=ids if ids is not None else SystemIds(),
                read_only=read_only,
            )
            if not read_only:
                store._prove_file_system()
        except (OSError, StoreError) as error:
            raise ConfigError(
                f"data directory {directory.path}: {error}; choose a directory on a local disk"
            ) from error
        return store

    @property
    def description(self) -> str:
        return f"file://{self._directory.path}"

    @property
    def owned(self) -> bool:
        """Whether `acquire_ownership` succeeded. While True, every earlier owner is proved dead."""
        return self._directory.owned

    def acquire_ownership(self, address: str = "") -> None:
        """Own the directory until `close` or the end of the process, however it ends.

        `address` is where this broker is reached, for the message to whoever else tries; call
        again to change it. `BrokerLeadershipError` names the directory and its live owner.
        """
        try:
            self._directory.acquire_ownership(address)
        except OSError as error:
            raise ConfigError(
                f"data directory {self._directory.path}: {error}; check that it can be written"
            ) from error

    def own(self, address: str) -> None:
        if self.owned:
            raise BrokerLeadershipError(
                f"{self.description} is in use by another broker of this process: stop that one"
            )
        self.acquire_ownership(address)

    def disown(self) -> None:
        self._directory.release()

    async def read(self, key: str) -> StoredObject | None:
        check_key(key)
        return await self._threads.run(self._read, key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        check_key(key)
        return await self._threads.put(len(body), self._create, key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        check_key(key)
        return await self._threads.swap(self._replace, key, body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """As the protocol says. Reads every folder on the way, however few keys are wanted of it."""
        check_prefix(prefix)
        return await self._threads.run(self._list, prefix, after, limit)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._threads.run(self._delete, key)

    async def close(self) -> None:
        """Wait for the calls that have begun, then give up the directory."""
        if self._closed:
            return
        self._closed = True
        await self._threads.close(drain=True)
        self._folders.close()
        for fd in (self._write_lock_fd, self._temporary_fd):
            if fd >= 0:
                os.close(fd)
        self._directory.release()

    def _read(self, key: str) -> StoredObject | None:
        self._check_usable()
        folder_name, _, name = key.rpartition("/")
        with self._folder(key, folder_name) as folder:
            if folder is None:
                return None
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise self._translated(error, key) from error
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                return None
            body = read_all(fd, status.st_size)
        except OSError as error:
            raise self._translated(error, key) from error
        finally:
            os.close(fd)
        if len(body) != status.st_size:
            raise StoreUnknown(f"{key}: {len(body)} of {status.st_size} bytes could be read")
        self._wait_until_synced(key)
        return StoredObject(body, _version(status))

    def _create(self, key: str, body: bytes) -> str:
        folder_name, _, name = key.rpartition("/")
        with (
            self._written(key, body, self._next_stamp_ns()) as (temporary, version),
            self._made_folder(key, folder_name) as folder,
            self._until_synced(key),
        ):
            try:
                os.link(temporary, name, src_dir_fd=self._temporary_fd, dst_dir_fd=folder)
            except FileExistsError:
                if (self._directory.objects / key).is_dir():
                    raise InvalidKey(f"object key {key!r}: is the folder of other objects") from None
                raise StoreRefused(f"{key}: exists already") from None
            except FileNotFoundError as error:
                raise StoreUnavailable(f"{key}: its folder, or {temporary}, was removed by another process") from error
            except OSError as error:
                raise self._translated(error, key) from error
            self._sync(folder, key)
            return version

    def _replace(self, key: str, body: bytes, version: str) -> str:
        folder_name, _, name = key.rpartition("/")
        self._check_usable(writing=True)
        with self._folder(key, folder_name) as folder:
            if folder is None:
                raise StoreRefused(f"{key}: does not exist")
            # Compared before the body is written too: a refusal should not cost a sync.
            self._compare(folder, key, name, version)
            stamp_ns = max(self._next_stamp_ns(), int(version.partition("-")[0]) + 1)
            with self._written(key, body, stamp_ns) as (temporary, new_version), self._exclusive():
                self._compare(folder, key, name, version)
                with self._until_synced(key):
                    try:
                        os.rename(temporary, name, src_dir_fd=self._temporary_fd, dst_dir_fd=folder)
                    except OSError as error:
                        raise self._translated(error, key) from error
                    self._sync(folder, key)
                    return new_version

    def _delete(self, key: str) -> None:
        """Not synced: a power cut may bring the object back, as if the delete had not arrived yet."""
        self._check_usable(writing=True)
        folder_name, _, name = key.rpartition("/")
        with self._folder(key, folder_name) as folder, self._exclusive():
            if folder is None:
                return
            try:
                os.unlink(name, dir_fd=folder)
            except (FileNotFoundError, IsADirectoryError):
                return
            except OSError as error:
                raise self._translated(error, key) from error
        if folder_name:
            # Each checkpoint has a folder of its own: left behind, they would be many, and in the way of listings.
            self._folders.remove_if_empty(folder_name)

    def _list(self, prefix: str, after: str, limit: int) -> list[str]:
        self._check_usable()
        try:
            return list(
                itertools.islice(keys_in(self._directory.objects, prefix.rpartition("/")[0], prefix, after), limit)
            )
        except OSError as error:
            raise self._translated(error, prefix) from error

    def _compare(self, folder: int, key: str, name: str, version: str) -> None:
        try:
            status = os.stat(name, dir_fd=folder)
        except FileNotFoundError:
            raise StoreRefused(f"{key}: does not exist") from None
        except OSError as error:
            raise self._translated(error, key) from error
        if stat.S_ISDIR(status.st_mode):
            raise StoreRefused(f"{key}: does not exist, it is the folder of other objects")
        if _version(status) != version:
            raise StoreRefused(f"{key}: has version {_version(status)}, not {version}")

    @contextmanager
    def _written(self, key: str, body: bytes, stamp_ns: int) -> Iterator[tuple[str, str]]:
        """A temporary file with `body`, on disk, and the version it will have. Removed in the end."""
        self._check_usable(writing=True)
        temporary = f"{self._temporary_stem}-{next(self._temporary_numbers)}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=self._temporary_fd)
        except OSError as error:
            raise self._translated(error, key) from error
        try:
            try:
                write_all(fd, body)
                os.utime(fd, ns=(stamp_ns, stamp_ns))
                sync(fd)
                status = os.fstat(fd)
            except OSError as error:
                raise self._fail(error, key) from error
            finally:
                os.close(fd)
            yield temporary, _version(status)
        finally:
            # Renamed away, or emptied by a new owner. What stays behind is emptied by the next one.
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._temporary_fd)

    @contextmanager
    def _folder(self, key: str, name: str) -> Iterator[int | None]:
        """The folder `name`, or None when there is none."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self._folders.existing(name))
            except OSError as error:
                raise self._translated(error, key) from error
            yield folder

    @contextmanager
    def _made_folder(self, key: str, name: str) -> Iterator[int]:
        """The folder `name`, created if there is none."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self._folders.made(name))
            except NotADirectoryError:
                raise InvalidKey(f"object key {key!r}: a part of its path is itself an object") from None
            except OSError as error:
                raise self._translated(error, key) from error
            yield folder

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._replacing:
            fcntl.flock(self._write_lock_fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._write_lock_fd, fcntl.LOCK_UN)

    @contextmanager
    def _until_synced(self, key: str) -> Iterator[None]:
        """From before `key` may change until the change is on disk, or the attempt is over."""
        with self._state:
            self._unsynced[key] = self._unsynced.get(key, 0) + 1
        try:
            yield
        finally:
            with self._state:
                self._unsynced[key] -= 1
                if not self._unsynced[key]:
                    del self._unsynced[key]
                    self._state.notify_all()

    def _wait_until_synced(self, key: str) -> None:
        """What a reader was shown must not vanish in a power cut: it may settle a put by it."""
        if key in self._unsynced:
            with self._state:
                self._state.wait_for(lambda: key not in self._unsynced)
            self._check_usable()

    def _sync(self, folder: int, key: str) -> None:
        try:
            sync(folder)
        except OSError as error:
            raise self._fail(error, key) from error

    def _next_stamp_ns(self) -> int:
        now_ns = self._clock.wall_ms() * 1_000_000 + self._stamp_offset_ns
        with self._state:
            self._last_stamp_ns = max(self._last_stamp_ns + 1, now_ns)
            return self._last_stamp_ns

    def _check_usable(self, *, writing: bool = False) -> None:
        if self._failure is not None:
            raise StoreFailed(*self._failure.args)
        if writing and self._read_only:
            raise StoreDenied(f"{self.description}: was opened for reading only")

    def _fail(self, error: OSError, key: str) -> StoreError:
        """`error` left the outcome of a write unknown for good: the store must not be used any more."""
        self._failure = StoreFailed(
            f"{self.description}: writing {key} failed ({error.strerror or error}); what is on disk is unknown, so the "
            "broker must stop: make room or replace the disk, then start it again"
        )
        return self._failure

    def _translated(self, error: OSError, key: str) -> StoreError:
        """`error`, of a call that changed nothing, as the error of the protocol that says so."""
        if error.errno in _NOT_ALLOWED:
            return StoreDenied(f"{self.description}: {key}: {error.strerror}; check owner and mode of the directory")
        if error.errno in _OUT_OF_HANDLES:
            return StoreUnavailable(f"{self.description}: {key}: {error.strerror}; raise the limit of open files")
        return self._fail(error, key)

    def _prove_file_system(self) -> None:
        """Hard links and times in nanoseconds, or creates and versions would not hold."""
        stamp_ns = self._next_stamp_ns()
        with self._written("the first file", b"", stamp_ns) as (name, version):
            if int(version.partition("-")[0]) != stamp_ns:
                raise StoreFailed("its file system does not keep modification times in nanoseconds")
            try:
                os.link(name, f"{name}-link", src_dir_fd=self._temporary_fd, dst_dir_fd=self._temporary_fd)
            except OSError as error:
                raise StoreFailed(f"its file system does not link files ({error.strerror})") from error
            os.unlink(f"{name}-link", dir_fd=self._temporary_fd)


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_ino}"

"""The data directory of a file store: its layout, its marker, and who owns it.

- `osqueue.store`: the marker. This directory is ours; names the layout's version.
- `leader.lock`: held (flock) by the process that owns the directory; names it.
- `write.lock`: held (flock) for the moment of comparing and replacing an object.
- `objects/`: the objects, each under its key.
- `tmp/`: bodies on their way to `objects/`; emptied by each new owner.
"""

import contextlib
import fcntl
import json
import os
from pathlib import Path

from osqueue_service.errors import BrokerLeadershipError, ConfigError
from osqueue_service.storage.syncing import sync

MARKER = "osqueue.store"
LEADER_LOCK = "leader.lock"
WRITE_LOCK = "write.lock"
OBJECTS = "objects"
TEMPORARY = "tmp"
LAYOUT_VERSION = 1

# A fresh ext4 volume is not empty, and neither is a directory whose first start was killed.
_NOT_FOREIGN = ("lost+found",)
_MARKER_DRAFT = ".osqueue.store-"


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(fd)
    finally:
        os.close(fd)


class DataDirectory:
    """One data directory, checked and laid out. `ConfigError` names the directory and the way out."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path.absolute()
        self.objects = self.path / OBJECTS
        self.temporary = self.path / TEMPORARY
        self._owner_fd: int | None = None
        try:
            if not read_only:
                self._create()
            self._check_marker()
        except OSError as error:
            raise ConfigError(
                f"data directory {self.path}: {error.strerror or error}; {_way_out(read_only)}"
            ) from error

    def open_write_lock(self) -> int:
        """A file descriptor to flock while an object is compared and replaced."""
        return os.open(self.path / WRITE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def owned(self) -> bool:
        """Whether this process owns the directory. The lock dies with its holder, so while this is
        True no earlier owner is alive, nor can it come back."""
        return self._owner_fd is not None

    def acquire_ownership(self, address: str) -> None:
        """Own the directory until `release` or the end of the process, and empty `tmp/`.

        `address` is what others are told about the holder. Calling again changes the address.
        `BrokerLeadershipError` when another live process owns the directory: it names both.
        """
        fd = self._owner_fd
        if fd is None:
            fd = self._lock_leader()
            self._owner_fd = fd
            for stale in self.temporary.iterdir():
                stale.unlink(missing_ok=True)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "address": address}).encode() + b"\n", 0)

    def release(self) -> None:
        """Stop owning the directory. Idempotent."""
        if self._owner_fd is not None:
            os.ftruncate(self._owner_fd, 0)
            os.close(self._owner_fd)
            self._owner_fd = None

    def _lock_leader(self) -> int:
        path = self.path / LEADER_LOCK
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder, address = _read_holder(fd)
            os.close(fd)
            if not isinstance(error, BlockingIOError):
                raise ConfigError(
                    f"data directory {self.path}: its file system cannot lock files ({error.strerror}); "
                    "choose a directory on a local disk"
                ) from error
            raise BrokerLeadershipError(
                f"data directory {self.path} is in use by {holder}: stop that broker or choose another directory",
                leader=address,
            ) from error
        return fd

    def _create(self) -> None:
        if not self.path.exists():
            self.path.mkdir(parents=True)
            sync_directory(self.path.parent)
        if not self.path.is_dir():
            raise ConfigError(f"data directory {self.path}: is not a directory; choose another path")
        if not (self.path / MARKER).exists():
            self._claim()
        for folder in (self.objects, self.temporary):
            folder.mkdir(0o700, exist_ok=True)
        sync_directory(self.path)

    def _claim(self) -> None:
        """Mark an empty directory as ours."""
        for name in sorted(os.listdir(self.path)):
            if name not in _NOT_FOREIGN and not name.startswith(_MARKER_DRAFT) and name != MARKER:
                raise ConfigError(
                    f"data directory {self.path}: holds other files ({name!r}) and is not an osqueue store; "
                    "choose an empty or a new directory"
                )
        draft = self.path / f"{_MARKER_DRAFT}{os.getpid()}"
        marker = {"kind": "osqueue file store", "layout": LAYOUT_VERSION}
        with draft.open("w") as file:
            file.write(json.dumps(marker) + "\n")
            file.flush()
            sync(file.fileno())
        draft.rename(self.path / MARKER)

    def _check_marker(self) -> None:
        path = self.path / MARKER
        if not path.exists():
            raise ConfigError(f"data directory {self.path}: there is no osqueue store; check the path")
        try:
            marker = json.loads(path.read_text())
            layout = marker["layout"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: is not a marker of an osqueue store; restore it or choose another directory"
            ) from error
        if layout != LAYOUT_VERSION:
            raise ConfigError(
                f"{path}: the store has layout {layout}, this version reads layout {LAYOUT_VERSION}; "
                "use the version of osqueue that wrote it"
            )


def _read_holder(fd: int) -> tuple[str, str]:
    """Who holds the lock, in words, and its address. The holder may be just writing it."""
    address = ""
    holder = "another process"
    with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
        content = json.loads(os.pread(fd, 4_096, 0))
        address = str(content["address"])
        holder = f"process {int(content['pid'])}" + (f" at {address}" if address else "")
    return holder, address


def _way_out(read_only: bool) -> str:
    if read_only:
        return "check the path and that it can be read"
    return "check that it can be written, or choose another directory"

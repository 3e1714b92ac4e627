"""The folders of a file store, held open: a commit should not walk a path to reach its own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A broker writes to its own lane, its predecessor's, and a few fixed folders. Beyond this
# many, folders are opened for one call.
OPEN_FOLDERS_MAX = 128


class Folders:
    """Open folders below `root`, named by their relative path; `""` is the root itself.

    A folder is synced when it is first opened: what a predecessor wrote just before it was
    killed may be visible and not yet on disk, and must not vanish once we have built on it.
    """

    def __init__(self, root: Path, *, read_only: bool) -> None:
        self._root = root
        self._read_only = read_only
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    @contextmanager
    def existing(self, name: str) -> Iterator[int | None]:
        """The folder, or None when there is none; valid inside the `with`."""
        fd = self._open.get(name)
        if fd is not None:
            yield fd
            return
        try:
            fd = self._first_open(name)
        except (FileNotFoundError, NotADirectoryError):
            fd = None
        try:
            yield fd
        finally:
            self._close_unless_kept(name, fd)

    @contextmanager
    def made(self, name: str) -> Iterator[int]:
        """The folder, created with the folders above it if there is none; valid inside the `with`."""
        fd = self._open.get(name)
        if fd is not None:
            yield fd
            return
        self._make(name)
        fd = self._first_open(name)
        try:
            yield fd
        finally:
            self._close_unless_kept(name, fd)

    def close(self) -> None:
        with self._lock:
            for fd in self._open.values():
                os.close(fd)
            self._open.clear()

    def _make(self, name: str) -> None:
        """Create what is missing of the path. The folder above is synced even when nothing was
        missing: whoever created the folder may have been killed before it did so."""
        above = ""
        for part in name.split("/") if name else ():
            parent = self._first_open(above)
            try:
                # Another thread or an earlier process may have been first; if it is no folder, opening it says so.
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=parent)
                os.fsync(parent)
            finally:
                self._close_unless_kept(above, parent)
            above = f"{above}/{part}" if above else part

    def _first_open(self, name: str) -> int:
        with self._lock:
            fd = self._open.get(name)
            if fd is not None:
                return fd
            fd = os.open(self._root / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not self._read_only:
                os.fsync(fd)
            if len(self._open) < OPEN_FOLDERS_MAX:
                self._open[name] = fd
            return fd

    def _close_unless_kept(self, name: str, fd: int | None) -> None:
        if fd is not None and self._open.get(name) != fd:
            os.close(fd)

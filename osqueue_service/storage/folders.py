"""The folders of a file store, held open: a commit should not walk a path to reach its own."""

import heapq
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from osqueue_service.storage.syncing import sync

# A broker writes to its own lane, its predecessor's, and a few fixed folders. Beyond this
# many, folders are opened for one call.
OPEN_FOLDERS_MAX = 128


@dataclass(slots=True)
class _Folder:
    fd: int
    kept: bool
    """Held open for the next call; otherwise closed by the last who uses it."""
    users: int = 0


class Folders:
    """Open folders below `root`, named by their relative path; `""` is the root itself.

    A folder is synced when it is first opened: what a predecessor wrote just before it was
    killed may be visible and not yet on disk, and must not vanish once we have built on it.
    """

    def __init__(self, root: Path, *, read_only: bool) -> None:
        self._root = root
        self._read_only = read_only
        self._lock = threading.Lock()
        self._open: dict[str, _Folder] = {}

    @contextmanager
    def existing(self, name: str) -> Iterator[int | None]:
        """The folder, or None when there is none; valid inside the `with`."""
        try:
            folder = self._enter(name)
        except (FileNotFoundError, NotADirectoryError):
            yield None
            return
        try:
            yield folder.fd
        finally:
            self._leave(folder)

    @contextmanager
    def made(self, name: str) -> Iterator[int]:
        """The folder, created with the folders above it if there is none; valid inside the `with`."""
        while True:
            try:
                folder = self._enter(name)
                break
            except FileNotFoundError:
                self._make(name)  # and enter it, unless it is removed again in between
        try:
            yield folder.fd
        finally:
            self._leave(folder)

    def remove_if_empty(self, name: str) -> None:
        """Remove the folder if it is empty and nobody of this process is about to change that. Whoever is, in
        another process or just now, finds no folder to write into, and makes a new one."""
        with self._lock:
            folder = self._open.get(name)
            if folder is not None and folder.users:
                return
            with suppress(OSError):  # not empty, or gone already: both are as good
                os.rmdir(self._root / name)
                self._drop(name)

    def close(self) -> None:
        with self._lock:
            for name in list(self._open):
                self._drop(name)

    def _make(self, name: str) -> None:
        """Create what is missing of the path. The folder above is synced even when nothing was
        missing: whoever created the folder may have been killed before it did so."""
        above = ""
        for part in name.split("/") if name else ():
            parent = self._enter(above)
            try:
                # Another thread or an earlier process may have been first; if it is not a folder, opening it says so.
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=parent.fd)
                sync(parent.fd)
            finally:
                self._leave(parent)
            above = f"{above}/{part}" if above else part

    def _enter(self, name: str) -> _Folder:
        with self._lock:
            folder = self._open.get(name)
            if folder is not None and not os.fstat(folder.fd).st_nlink:
                # Another process has removed it, and may have made another one of this name.
                self._drop(name)
                folder = None
            if folder is None:
                fd = os.open(self._root / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    if not self._read_only:
                        sync(fd)
                except BaseException:
                    os.close(fd)
                    raise
                folder = _Folder(fd, kept=len(self._open) < OPEN_FOLDERS_MAX)
                if folder.kept:
                    self._open[name] = folder
            folder.users += 1
            return folder

    def _leave(self, folder: _Folder) -> None:
        with self._lock:
            folder.users -= 1
            self._close_unused(folder)

    def _drop(self, name: str) -> None:
        folder = self._open.pop(name, None)
        if folder is not None:
            folder.kept = False
            self._close_unused(folder)

    @staticmethod
    def _close_unused(folder: _Folder) -> None:
        if not folder.users and not folder.kept:
            os.close(folder.fd)


def keys_in(root: Path, folder: str, prefix: str, after: str) -> Iterator[str]:
    """The keys below `folder` that begin with `prefix` and sort after `after`, in order."""
    base = f"{folder}/" if folder else ""
    names: list[str] = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                key = base + entry.name
                if not entry.is_dir():
                    if key > after and key.startswith(prefix):
                        names.append(entry.name)
                # "0" is the character after "/": all keys in the folder sort below it.
                elif f"{key}/".startswith(prefix) and after < f"{key}0":
                    names.append(f"{entry.name}/")
    except (FileNotFoundError, NotADirectoryError):
        return  # No such folder: nothing begins with the prefix.
    # With its slash a folder's name sorts where all its keys do. Mostly only a few are wanted: no full sort.
    heapq.heapify(names)
    while names:
        name = heapq.heappop(names)
        if name.endswith("/"):
            yield from keys_in(root, base + name[:-1], prefix, after)
        else:
            yield base + name

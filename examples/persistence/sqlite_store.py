"""An object store of our own: the queue in one SQLite file.

The protocol is six calls; `osqueue_service.storage.store` says what each must do, and the test beside this file runs
the suite that every store must pass.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from osqueue_service.errors import StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.storage import StoredObject
from osqueue_service.storage.keys import check_key, check_prefix

T = TypeVar("T")

AFTER_EVERY_KEY = "\x7f"  # keys are ASCII, so this sorts behind all that could follow a prefix


class SqliteStore:
    """Objects as rows of a table. Several stores, in several processes, may share a file."""

    def __init__(self, path: Path | str) -> None:
        self.description = f"sqlite://{path}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")  # SQLite blocks; the event loop must not
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # a commit that returned is on the disk
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body BLOB NOT NULL, version TEXT NOT NULL)"
        )

    async def read(self, key: str) -> StoredObject | None:
        check_key(key)
        rows = await self._query("SELECT body, version FROM objects WHERE key = ?", key)
        return StoredObject(*rows[0]) if rows else None

    async def put_if_absent(self, key: str, body: bytes) -> str:
        check_key(key)
        # One statement is one transaction: the condition and the write cannot come apart.
        version = await self._write("INSERT INTO objects VALUES (?2, ?3, ?1) ON CONFLICT DO NOTHING", key, bytes(body))
        if version is None:
            raise StoreRefused(f"{key}: exists already")
        return version

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        check_key(key)
        statement = "UPDATE objects SET version = ?1, body = ?3 WHERE key = ?2 AND version = ?4"
        new = await self._write(statement, key, bytes(body), version)
        if new is None:
            raise StoreRefused(f"{key}: does not have version {version}")
        return new

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        check_prefix(prefix)
        statement = "SELECT key FROM objects WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
        rows = await self._query(statement, after, prefix, prefix + AFTER_EVERY_KEY, limit)
        return [key for (key,) in rows]

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._query("DELETE FROM objects WHERE key = ?", key)

    async def close(self) -> None:
        self._thread.shutdown()
        self._database.close()

    async def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return await self._in_thread(lambda: self._database.execute(statement, values).fetchall())
        except sqlite3.OperationalError as error:  # a read, or a delete that may be repeated
            raise StoreUnavailable(f"{self.description}: {error}") from error

    async def _write(self, statement: str, *values: object) -> str | None:
        """The new version; None when the condition did not hold."""
        version = uuid.uuid4().hex  # differs with every write, whatever is written
        try:
            cursor = await self._in_thread(lambda: self._database.execute(statement, (version, *values)))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:  # somebody else held the lock: nothing was written
                raise StoreUnavailable(f"{self.description}: {error}") from error
            raise StoreUnknown(f"{self.description}: {error}") from error  # the broker reads to find out
        return version if cursor.rowcount else None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

"""Jobs that ran when a worker of this machine died: any of them may be what it died of, so they run apart from others.

Workers have no memory of their predecessors, so it is a note in the folder for temporary files, of this user, for
workers of the same brokers. A note that is lost costs the knowledge, and nothing else.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

NOTED_S = 3_600.0
"""How long a note is worth something."""

GIVEN_BACK_MAX = 10
"""A job whose number of attempts is higher is left to its lease when its worker dies, and that counts."""

TOGETHER = 10
"""One suspect in ten runs at a time, and where there are fewer than twice as many, one."""


class Suspects:
    """The notes of one group of workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self.ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, address: str) -> "Suspects":
        """Those of the workers that reach their broker so."""
        name = hashlib.sha256(address.encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        import tempfile  # with much behind it, for workers alone

        return cls(Path(tempfile.gettempdir()) / f"osqueue-{user}" / f"suspects-{name}.json")

    @property
    def at_a_time(self) -> int:
        """How many of them may run together."""
        return max(1, len(self.ids) // TOGETHER)

    def look(self) -> None:
        """Read the note if it is new."""
        try:
            found = self.path.stat()
        except OSError:
            self.ids, self._read_at = frozenset(), None
            return
        if hasattr(os, "getuid") and found.st_uid != os.getuid():
            return  # somebody else's
        if (found.st_mtime_ns, found.st_size) != self._read_at:
            self._read_at = found.st_mtime_ns, found.st_size
            fresh = time.time() - found.st_mtime < NOTED_S
            self.ids = frozenset(self._noted()) if fresh else frozenset()

    def note(self, job_ids: Iterable[str]) -> None:
        """These ran when a worker died. Earlier ones that did not are cleared by that."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self._write(list(job_ids))

    def clear(self, job_id: str) -> None:
        """It has ended, and the worker lives."""
        if job_id in self.ids:
            with contextlib.suppress(OSError):
                self._write([noted for noted in self._noted() if noted != job_id])
            self.ids -= {job_id}

    def _noted(self) -> list[str]:
        try:
            noted = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return []
        return [job_id for job_id in noted if isinstance(job_id, str)] if isinstance(noted, list) else []

    def _write(self, job_ids: list[str]) -> None:
        if not job_ids:
            self.path.unlink(missing_ok=True)
            return
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(job_ids))
        os.replace(beside, self.path)

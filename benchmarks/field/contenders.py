"""The job queues of the field: where each is installed, and what it runs against."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.field.redis_server import redis
from scripts.tools import place

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).parent / "clients"

_OTHERS = place("celery")
_PYTHON = _OTHERS / "bin" / "python"
_BULLMQ = place("bullmq")


@dataclass(frozen=True)
class Contender:
    """`command`, with "submit ADDRESS SECONDS" or "work ADDRESS JOBS" behind it, is one process that prints its count;
    `server` gives the address."""

    name: str
    command: tuple[str, ...]
    server: Callable[[], AbstractContextManager[str]]
    folder: Path = ROOT


@contextmanager
def broker() -> Iterator[str]:
    """A broker process on the file store, which syncs every commit to the disk before it answers."""
    with tempfile.TemporaryDirectory(prefix="osqueue-field-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", "file", f"{folder}/queue"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait()


OSQUEUE = Contender("osqueue", (sys.executable, "-m", "benchmarks.field.clients.osqueue_client"), broker)


def others() -> tuple[list[Contender], list[str]]:
    """Those that are installed, and what is missing."""
    found, missing = [], []
    if shutil.which("redis-server") is None:
        return [], ["redis-server"]
    if shutil.which("node") and (_BULLMQ / "node_modules" / "bullmq").is_dir():
        found.append(Contender("BullMQ", ("node", str(CLIENTS / "bullmq.mjs")), redis, _BULLMQ))
    else:
        missing.append("BullMQ")
    for name in ("SAQ", "Dramatiq", "Celery"):
        if any(_OTHERS.glob(f"lib/python*/site-packages/{name.lower()}")):
            found.append(
                Contender(name, (str(_PYTHON), "-W", "ignore", str(CLIENTS / f"{name.lower()}_client.py")), redis)
            )
        else:
            missing.append(name)
    return found, missing

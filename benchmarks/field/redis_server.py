"""A Redis server of our own that syncs every write to the disk before it answers."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

START_S_MAX = 10.0


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a fresh, empty server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    with tempfile.TemporaryDirectory(prefix="osqueue-field-") as folder:
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        process = subprocess.Popen(
            ["redis-server", *where, *durable, "--loglevel", "warning"], stdout=subprocess.DEVNULL
        )
        try:
            _until_listening(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError("redis-server did not start") from error
            time.sleep(0.02)

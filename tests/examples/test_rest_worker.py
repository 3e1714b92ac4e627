"""The worker in plain Node does jobs over REST."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from osqueue import SyncClient
from tests.servers import REQUIRED, free_ports

NODE = shutil.which("node")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(NODE is None and not REQUIRED, reason="node is not installed"),
]

WORKER = Path(__file__).resolve().parents[2] / "examples" / "rest" / "worker.mjs"
SECONDS_MAX = 60
WAIT_MS = 30_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a broker and of its gateway."""
    grpc, http = map(str, free_ports(2))
    arguments = ["serve", "--data-dir", str(tmp_path / "queue"), "--grpc-port", grpc, "--http-port", http]
    process = subprocess.Popen([sys.executable, "-m", "osqueue_cli", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        _until(process.stdout, "osqueue is running")
        yield f"grpc://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS_MAX)


@pytest.fixture
def worker(served: tuple[str, str]) -> Iterator["subprocess.Popen[str]"]:
    assert NODE is not None
    process = subprocess.Popen(
        [NODE, str(WORKER)],
        env={**os.environ, "OSQUEUE_GATEWAY": served[1]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_works_until_it_is_stopped(served: tuple[str, str], worker: "subprocess.Popen[str]") -> None:
    with SyncClient(served[0]) as client:
        job = client.submit_job("resize", {"photo": "cat.png", "width": 320})
        assert job.result(WAIT_MS) == "cat.png@320"
        broken = client.wait_job(client.submit_job("resize", None, max_attempts=2).id, WAIT_MS)
        assert broken.status == "dead"
        assert broken.error is not None and broken.error.type == "TypeError"
    assert worker.stdout is not None
    _until(worker.stdout, f"{job.id} done: cat.png@320")
    worker.send_signal(signal.SIGTERM)
    _, complaints = worker.communicate(timeout=SECONDS_MAX)
    assert (worker.returncode, complaints) == (0, "")


def test_the_readmes_request_works(served: tuple[str, str], worker: "subprocess.Popen[str]") -> None:
    body = b'{"type": "resize", "payload": {"photo": "cat.png", "width": 320}}'
    request = urllib.request.Request(f"{served[1]}/v1/jobs", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert b"jobId" in answer.read()
    assert body.decode() in (WORKER.parent / "README.md").read_text()
    assert worker.stdout is not None
    _until(worker.stdout, "done: cat.png@320")


def _until(stream: IO[str], text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"the process ended without saying {text!r}")

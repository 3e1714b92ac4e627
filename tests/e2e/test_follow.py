"""Commands that go on until Ctrl-C: `jobs --follow`, `top` in a pipe, and `work`."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from osqueue_service.testing.in_process import BrokerThread

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def url():
    with BrokerThread() as broker:
        yield f"grpc://{broker.address}"


@pytest.fixture
def start(url, tmp_path):
    """Start the command line; whatever still runs at the end of the test is killed."""
    started = []

    def run(*arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "osqueue_cli", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, cwd=tmp_path,
            env={**os.environ, "BROKER_URL": url, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def submit(start, job_type: str) -> str:
    out, err = start("submit", job_type, "1").communicate(timeout=20)
    assert err == ""
    return out.strip()


def interrupted(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    return process.returncode


def test_following_jobs(start):
    follow = start("jobs", "--follow", "--type", "followed", "--json")
    # Events begin with the stream, and nothing says when it is open: go on submitting until the first one is told.
    submitted = []
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(follow.stdout.readline)
        while not told.done():
            submitted.append(submit(start, "followed"))
    event = json.loads(told.result())
    assert event["kind"] == "SUBMITTED"
    assert event["jobId"] in submitted
    assert interrupted(follow) == 130


def test_top_in_a_pipe_writes_lines(start):
    job_id = submit(start, "topped")
    assert job_id
    top = start("top", "--every", "100ms", "--json")
    figures = json.loads(top.stdout.readline())
    assert figures["counts"]["total"] >= 1
    assert interrupted(top) == 130
    plain = start("top", "--every", "100ms")
    assert "waiting" in plain.stdout.readline()
    assert interrupted(plain) == 130


def test_a_worker_drains_at_ctrl_c(start, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import asyncio, pathlib\n"
        "async def slow(payload):\n"
        "    print('begun', flush=True)\n"
        "    while not pathlib.Path('go').exists():\n"
        "        await asyncio.sleep(0.01)\n"
        "    return 'done'\n"
        "handlers = {'slow': slow}\n"
    )
    job_id = submit(start, "slow")
    worker = start("work", "slow:handlers")
    begun = [worker.stdout.readline(), worker.stdout.readline()]
    assert begun[1] == "begun\n"
    worker.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    out, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["completed", "stopped"]
    shown, _ = start("job", "wait", job_id, "--json").communicate(timeout=20)
    assert json.loads(shown)["result"] == "done"

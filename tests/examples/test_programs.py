"""The example programs run as their READMEs say, and print what they should."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from osqueue import SyncClient
from osqueue_service.testing.in_process import BrokerThread
from tests.servers import free_ports

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS_MAX = 60


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with BrokerThread() as broker:
        monkeypatch.setenv("BROKER_URL", f"grpc://{broker.address}")
        yield broker.address


def run(path: str, *arguments: str) -> str:
    command = [sys.executable, path, *arguments]
    result = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


SAYS = {
    "fire_and_forget": ["one invoice: True, found again: True", "waiting: audit, audit, invoice, reminder"],
    "submit_and_wait": ["6 / 3 = 2.0", "6 / 0: Reject", "after 200 ms the other job is unclaimed"],
    "batch_with_progress": ["10 of 40 pages", "40 of 40 pages", "78000 words"],
    "concurrent_workers": ["60 done, each once"],
    "mixed_handlers": ["60 done; the first three: ['FETCH 0', 6, '"],
    "fan_out": [
        "at first: count unclaimed, count-2 unclaimed, count-3 unclaimed, summary blocked",
        "summary: {'files': 3, 'words': 13}",
        "workflow: completed",
    ],
    "order": [
        "order 12 closed: {'ship': 'completed'}",
        "workflow 12: completed",
        "order 13 refunded",
        "order 13 closed: {'ship': 'dead'}",
        "workflow 13: dead",
    ],
    "nightly_report": [
        "next: 02:00 in Europe/Berlin",
        "sales until 2026-03-28 02:00",
        "sales until 2026-03-29 03:00",
    ],
    "retries": [
        "flaky, attempt 2: ConnectionError → unclaimed",
        "flaky after 3 attempts",
        "busy, attempt 1: Retry → scheduled",
        "busy after 2 attempts",
        "broken, attempt 1: Reject → dead",
        "dead: no such customer",
        "revived: 1",
    ],
    "synchronous": ["20 + 22 = 42", "completed: 4"],
}


@pytest.mark.parametrize("name", SAYS)
def test_a_pattern_does_what_it_says(broker: str, name: str) -> None:
    output = run(f"patterns/{name}.py")
    assert [line for line in SAYS[name] if line not in output] == [], output


def test_every_pattern_is_run() -> None:
    assert {path.stem for path in (EXAMPLES / "patterns").glob("*.py")} == set(SAYS)


def test_the_quickstart_runs_as_the_readme_says(broker: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "quickstart/worker.py"],
        cwd=EXAMPLES,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output = run("quickstart/producer.py")
        worker.send_signal(signal.SIGTERM)
        worked, complaints = worker.communicate(timeout=SECONDS_MAX)
    finally:
        worker.kill()
    assert worker.returncode == 0, complaints
    assert "submitted 5 emails" in output
    assert "6 jobs completed so far, 0 to go" in output
    assert worked.count("sent 'Welcome' to user") == 5
    assert "drew cat.png at 320 pixels" in worked


def test_the_quickstarts_broker_keeps_its_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_GRPC_PORT", "0")
    for expected in (0, 1):
        with broker_program(EXAMPLES / "quickstart" / "broker.py", folder=tmp_path) as url, SyncClient(url) as client:
            assert client.get_stats().counts.total == expected
            client.submit_job("email", {"to": "ada@example.org"})


def test_a_broker_on_a_store_of_ones_own_hands_over_to_another(tmp_path: Path) -> None:
    program = EXAMPLES / "persistence" / "broker.py"
    first, second = free_ports(2)
    both = f"grpc://127.0.0.1:{first},127.0.0.1:{second}"
    with ExitStack() as standby, SyncClient(both) as client:
        with broker_program(program, "queue.sqlite", str(first), folder=tmp_path):
            standby.enter_context(broker_program(program, "queue.sqlite", str(second), folder=tmp_path))
            job = client.submit_job("email", {"to": "ada@example.org"})
        assert job.status() == "unclaimed"


def test_a_script_may_be_run_again(broker: str) -> None:
    script = ("script/import_customers.py", "script/customers.csv")
    assert run(*script) == "3 jobs are new, 0 were there already, 0 were refused\n"
    assert run(*script) == "0 jobs are new, 3 were there already, 0 were refused\n"


@contextmanager
def broker_program(program: Path, *arguments: str, folder: Path) -> Iterator[str]:
    """A broker's address while its program runs; Ctrl-C ends it in order."""
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = re.search(r"grpc://[0-9.:]+", process.stdout.readline())
        assert found is not None, process.communicate(timeout=SECONDS_MAX)
        yield found[0]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 0, complaints
    finally:
        process.kill()
        process.wait()

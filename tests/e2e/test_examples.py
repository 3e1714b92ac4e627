"""The examples run, and say what they should."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osqueue import SyncClient
from osqueue_service.testing.in_process import BrokerThread

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS_MAX = 60


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with BrokerThread() as broker:
        monkeypatch.setenv("BROKER_URL", f"grpc://{broker.address}")
        yield broker.address


def run(path: str) -> str:
    result = subprocess.run(
        [sys.executable, path], cwd=EXAMPLES, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


SAYS = {
    "fire_and_forget": ["one invoice: True, found again: True", "waiting: audit, audit, invoice, reminder"],
    "submit_and_wait": ["6 / 3 = 2.0", "6 / 0: Reject", "after 200 ms the other job is unclaimed"],
    "batch_with_progress": ["10 of 40 pages", "40 of 40 pages", "78000 words"],
    "mixed_handlers": ["60 done; the first three: ['FETCH 0', 6, '"],
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


def test_the_web_application_serves_reports(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.syspath_prepend(str(EXAMPLES / "web"))
    import app

    with TestClient(app.app) as web:
        ordered = web.post("/reports", json={"customer": 7, "year": 2030})
        assert ordered.status_code == 202
        again = web.post("/reports", json={"customer": 7, "year": 2030})
        assert again.json() == ordered.json()
        path = f"/reports/{ordered.json()['id']}"
        assert web.get(path).json() == {"status": "unclaimed", "progress": None, "result": None}
        with SyncClient(f"grpc://{broker}") as client:
            job = client.claim_job("w1")
            assert job is not None
            client.complete_job(job, {"pages": 12})
        assert web.get(path).json() == {"status": "completed", "progress": None, "result": {"pages": 12}}
        assert web.get("/reports/nosuchjob").status_code == 404
        assert web.post("/reports", json={"customer": "x"}).status_code == 422

"""`osqueue work`: finding the worker, and telling what it does."""

import socket
import sys

import pytest

from osqueue_cli.exits import Exit
from tests.servers import free_ports


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Write a module that `osqueue work` can import from its working directory; returns its name."""
    monkeypatch.chdir(tmp_path)
    name = "app_" + request.node.name.replace("[", "_").replace("]", "")

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_mapping_of_handlers(osqueue, job_type, module):
    osqueue("submit", job_type, "--lines", "-", input="1\n2\n3\n")
    name = module(f"handlers = {{{job_type!r}: lambda payload: payload * 2}}")
    answer = osqueue("work", f"{name}:handlers", "--until-idle", "--json")
    assert answer.exit_code == 0
    events = answer.json_lines
    assert [event["event"] for event in events] == ["started", "completed", "completed", "completed", "stopped"]
    assert events[-1]["completed"] == 3


def test_a_worker_with_its_own_hooks(osqueue, job_type, module):
    osqueue("submit", job_type, "1")
    name = module(
        "from osqueue import OsqueueClient, Worker\n"
        "seen = []\n"
        f"worker = Worker(OsqueueClient(), {{{job_type!r}: lambda payload: None}},\n"
        "                on_completed=lambda job, result: seen.append(job.job_id))\n"
    )
    assert osqueue("work", f"{name}:worker", "--until-idle", "--concurrency", "2").exit_code == 0
    assert len(sys.modules[name].seen) == 1


def test_failures_are_told_with_their_reason(osqueue, job_type, module):
    osqueue("submit", job_type, "1", "--max-attempts", "1")
    name = module(f"def fail(payload):\n    raise ValueError('no luck')\n\nhandlers = {{{job_type!r}: fail}}")
    failed = osqueue("work", f"{name}:handlers", "--until-idle").json_lines[1]
    assert (failed["event"], failed["status"]) == ("failed", "dead")
    assert failed["error"]["type"] == "ValueError"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("nothing", "MODULE:NAME"),
        ("no_such_module_here:worker", "there is no module"),
        ("json:nope", "has no 'nope'"),
        ("json:dumps", "must be a Worker"),
    ],
)
def test_a_wrong_target_is_explained(osqueue, target, text):
    answer = osqueue("work", target)
    assert answer.exit_code == Exit.USAGE
    assert text in answer.err


def test_a_module_that_cannot_be_imported_says_why(osqueue, module):
    name = module("import no_such_dependency")
    answer = osqueue("work", f"{name}:worker")
    assert answer.exit_code == Exit.USAGE
    assert "no_such_dependency" in answer.err


def test_a_misnamed_worker_is_guessed(osqueue, module):
    name = module("from osqueue import OsqueueClient, Worker\nmine = Worker(OsqueueClient(), {'a': print})\n")
    answer = osqueue("work", f"{name}:worker")
    assert answer.exit_code == Exit.USAGE
    assert "mine" in answer.err


async def test_the_screen_shows_what_runs_and_what_ended(capsys):
    from osqueue import ClaimedJob, JobError, OsqueueClient, Worker
    from osqueue_cli.worker_view import Ended, Screen

    worker = Worker(OsqueueClient(), {"email": print}, worker_id="me")
    screen = Screen(worker)
    screen.claimed(ClaimedJob("job-1", "me", b"", "email", "token", 1))
    screen.ended(Ended("failed", ClaimedJob("job-2", "me", b"", "email"), 12, JobError("E", "no\x1bluck"), "dead"))
    screen.refresh()
    screen._console.print(screen._frame())
    shown = capsys.readouterr().out
    for text in ("me", "0 completed", "job-2", "E: no", "now dead"):
        assert text in shown
    assert "\x1bluck" not in shown


def test_its_figures_are_served_while_it_runs(osqueue, job_type, module):
    (port,) = free_ports(1)
    osqueue("submit", job_type, "1")
    name = module(
        "import urllib.request\n"
        "pages = []\n"
        "def look(payload):\n"
        f"    pages.append(urllib.request.urlopen('http://127.0.0.1:{port}/metrics', timeout=10).read().decode())\n"
        f"handlers = {{{job_type!r}: look}}"
    )
    assert osqueue("work", f"{name}:handlers", "--until-idle", "--metrics-port", str(port)).exit_code == 0
    (page,) = sys.modules[name].pages
    assert "osqueue_worker_busy 1.0" in page
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_a_metrics_port_that_is_taken_is_named(osqueue, job_type, module):
    name = module(f"handlers = {{{job_type!r}: print}}")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = osqueue("work", f"{name}:handlers", "--until-idle", "--metrics-port", str(port))
    assert answer.exit_code == Exit.USAGE
    assert "--metrics-port" in answer.err and str(port) in answer.err

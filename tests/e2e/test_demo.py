"""The demo as a person runs it: it ends well, and leaves no process behind, however it ends."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

JOBS = 200


def start(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "osqueue_cli", "demo", "--jobs", str(JOBS), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def processes_in(directory: Path) -> list[int]:
    """Living processes whose working files are in the directory, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            if str(directory).encode() in command and ") Z " not in state and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def test_it_ends_well(tmp_path):
    demo = start("--json", "--dir", str(tmp_path / "demo"))
    out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, err
    outcome = json.loads(out)
    assert outcome["sound"] is True
    assert (outcome["completed"], outcome["lost"], outcome["completedTwice"]) == (JOBS, 0, 0)
    assert outcome["kill"]["submittedAfter"] >= outcome["kill"]["submittedAcknowledged"] > 0
    assert outcome["kill"]["completedAfter"] >= outcome["kill"]["completedAcknowledged"] > 0
    assert "kill -9" in err
    assert (tmp_path / "demo" / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "demo" / "outbox").glob("*.txt"))) == outcome["letters"]
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_no_process_behind(tmp_path, number):
    demo = start("--plain", "--dir", str(tmp_path / "demo"))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "submitting" in line:
            break
    children = {pid: os.pidfd_open(pid) for pid in processes_in(tmp_path / "demo") if pid != demo.pid}
    assert children
    demo.send_signal(number)
    demo.wait(timeout=30)
    assert demo.returncode in (130, -number)
    demo.stdout.close()
    for pid, ended in children.items():
        assert select.select([ended], [], [], 20)[0], f"process {pid} outlived the demo"
        os.close(ended)
    assert processes_in(tmp_path / "demo") == []


def test_a_used_directory_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    demo = start("--dir", str(tmp_path))
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == 8
    assert "not empty" in err

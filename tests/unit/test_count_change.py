"""What counts as written by hand when the cost of a change is counted."""

from pathlib import Path

import pytest

from scripts import count_change
from scripts.count_change import Change, origin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "path",
    [
        "osqueue_stubs/osqueue/v1/queue_pb2.py",
        "osqueue_stubs/osqueue/v1/queue_pb2.pyi",
        "osqueue_stubs/osqueue/v1/queue_pb2_grpc.py",
        "osqueue_protocol/comments.json",
        "osqueue/sync/reading.py",
        "requirements.lock",
        "deploy/requirements.lock",
    ],
)
def test_what_a_script_writes_is_not_counted(path):
    assert origin(path)
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", ["osqueue/job.py", "proto/osqueue/v1/queue.proto", "docs/cli.md", "CHANGELOG.md"])
def test_what_people_write_is_counted(path):
    assert not origin(path)


def test_a_commit_is_counted(monkeypatch):
    told = "Add a field\n\nosqueue/job.py\nosqueue/sync/reading.py\nCHANGELOG.md\n"
    monkeypatch.setattr(count_change, "git", lambda *arguments: told)
    assert count_change.change_of("HEAD") == Change(
        "Add a field", ["osqueue/job.py", "CHANGELOG.md"], ["osqueue/sync/reading.py"]
    )

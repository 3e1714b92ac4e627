"""What counts as written by hand when the cost of a change is counted."""

from pathlib import Path

import pytest

from scripts import count_change
from scripts.count_change import Change, kind_of, origin, report

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


FIELD = "+  optional int64 finished_before = 9;"
RPC = "+  rpc GetInfo(GetInfoRequest) returns (GetInfoResponse) {"
STATUS = "+    BLOCKED = 6"
STORE = "+        Backend("


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([FIELD], ("an optional field", 1)),
        ([FIELD, FIELD, RPC], ("an RPC", 1)),
        ([STATUS, FIELD], ("a job status", 1)),
        ([STORE], ("a store", 1)),
        (["-" + FIELD[1:], FIELD], None),
        (["-" + RPC[1:]], None),
        (["+  // A comment = 1;", "+++ b/proto/osqueue/v1/job.proto"], None),
    ],
)
def test_the_kind_of_a_change_is_told_by_the_lines_that_it_adds(monkeypatch, lines, expected):
    def git(*arguments):
        return "\n".join(line for line in lines if (line in (STATUS, STORE)) != ("proto" in arguments[-1]))

    monkeypatch.setattr(count_change, "git", git)
    found = kind_of("HEAD")
    assert (found and (found[0].name, found[1])) == expected


def test_what_changes_of_each_kind_cost_is_told_cheapest_first(monkeypatch):
    costs = {"a1": 9, "b2": 7}

    def git(command, *arguments):
        if command == "log":
            return "a1\nb2\n"
        commit = arguments[-1] if "--name-only" in arguments else arguments[2]
        if "--name-only" in arguments:
            return "\n".join([f"Change {commit}", "", *(f"docs/{n}.md" for n in range(costs[commit]))])
        return FIELD if "proto" in arguments[-1] else ""

    monkeypatch.setattr(count_change, "git", git)
    assert report("")[-3:] == [
        "an optional field, at most 8 files: 1 of 2 commits are within that",
        "    7 files for   1: b2 Change b2",
        "    9 files for   1: a1 Change a1",
    ]

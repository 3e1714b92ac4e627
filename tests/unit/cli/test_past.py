"""`osqueue restore`, `inspect --at` and `diff`: the queue as it was, while a broker goes on with it."""

import time
from pathlib import Path

import pytest

from osqueue_cli.exits import Exit
from osqueue_cli.output import timestamp
from osqueue_service.engine import checkpointing
from osqueue_service.leadership import term
from osqueue_service.testing.in_process import BrokerThread


class Scene:
    """A queue of two jobs, one of which was purged after `before_ms`."""

    def __init__(self, directory: Path, anywhere, url: str) -> None:
        self.directory, self._anywhere, self._url = directory, anywhere, url
        self.ids = [self.tell("submit", "mail", f'{{"n": {n}}}').out.strip() for n in range(3)]
        self.tell("job", "cancel", self.ids[2])
        time.sleep(0.002)
        self.before_ms = int(time.time() * 1_000)
        time.sleep(0.002)
        assert self.tell("purge", "--status", "cancelled", "--yes").exit_code == 0
        self.tell("job", "cancel", self.ids[1])

    def tell(self, *arguments: str):
        return self._anywhere(*arguments, "-b", self._url)

    def look(self, *arguments: str):
        return self._anywhere(*arguments, "--data-dir", self.directory)

    @property
    def before(self) -> str:
        return timestamp(self.before_ms)


@pytest.fixture
def scene(tmp_path, anywhere):
    with BrokerThread(data_dir=tmp_path / "queue", settings={"LOG_RETENTION": "1h"}) as broker:
        yield Scene(tmp_path / "queue", anywhere, f"grpc://{broker.address}")


def statuses(answer) -> dict[str, str]:
    return {job["id"]: job["status"] for job in answer.json_lines}


def test_the_queue_is_restored_beside_itself_as_it_was(scene, anywhere, tmp_path):
    target = tmp_path / "restored"
    answer = scene.look("restore", "--at", scene.before, "--to", target)
    assert answer.exit_code == 0
    assert "sound, and equal to what it was" in answer.out
    first, second, third = scene.ids
    then = {first: "unclaimed", second: "unclaimed", third: "cancelled"}
    assert statuses(anywhere("inspect", "--jobs", "--data-dir", target)) == then
    assert statuses(scene.look("inspect", "--jobs")) == {first: "unclaimed", second: "cancelled"}
    with BrokerThread(data_dir=target) as broker:
        claimed = anywhere("jobs", "--status", "unclaimed", "--json", "-b", f"grpc://{broker.address}")
        assert claimed.exit_code == 0 and first in claimed.out and second in claimed.out
    assert anywhere("verify", "--data-dir", target).exit_code == 0


def test_restoring_says_in_json_what_it_did(scene, tmp_path):
    answer = scene.look("restore", "--at", scene.before, "--to", tmp_path / "restored", "--json").json
    assert answer["at"] == scene.before_ms
    assert answer["to"].endswith("restored") and answer["from"].endswith("queue")
    assert (answer["jobs"]["unclaimed"], answer["jobs"]["cancelled"]) == (2, 1)
    assert answer["lastChangeAt"] <= scene.before_ms


def test_nothing_is_written_over_what_is_there(scene, tmp_path):
    for target in (scene.directory, tmp_path / "taken"):
        if not target.exists():
            scene.look("restore", "--at", scene.before, "--to", target)
        refused = scene.look("restore", "--at", scene.before, "--to", target)
        assert refused.exit_code in (Exit.CONFIG, Exit.UNREACHABLE, Exit.CONFLICT)
        assert str(target) in refused.err


@pytest.mark.parametrize("command", [["restore", "--to", "x"], ["inspect"], ["inspect", "--jobs"]])
def test_a_time_to_come_and_a_wrong_one_are_refused(command, scene):
    assert "yet to come" in scene.look(*command, "--at", "2999-01-01").err
    wrong = scene.look(*command, "--at", "noon")
    assert wrong.exit_code == Exit.USAGE and "'noon' is not a time" in wrong.err


def test_the_summary_as_it_was(scene):
    summary = scene.look("inspect", "--at", scene.before, "--json").json
    assert (summary["jobs"]["cancelled"], summary["jobs"]["unclaimed"]) == (1, 2)
    assert scene.look("inspect", "--json").json["jobs"]["unclaimed"] == 1
    assert "2 unclaimed" in scene.look("inspect", "--at", scene.before).out


@pytest.mark.parametrize("option", [["queue.json"], ["--list"], ["--jobs", "--salvage"]])
def test_a_moment_is_of_the_whole_queue(option, scene):
    assert scene.look("inspect", *option, "--at", "1s").exit_code == Exit.USAGE


def test_two_moments_differ_by_jobs(scene):
    answer = scene.look("diff", scene.before, "now")
    first, second, third = scene.ids
    assert [line.split()[:2] for line in answer.out.splitlines()] == [["~", second], ["-", third]]
    assert "unclaimed → cancelled" in answer.out
    assert "1 only in" in answer.err and "1 changed, 1 equal" in answer.err
    lines = scene.look("diff", scene.before, "now", "--json").json_lines
    assert [(line["change"], line["jobId"]) for line in lines] == [("changed", second), ("removed", third)]
    assert lines[0]["before"]["status"] == "unclaimed" and "status" in lines[0]["fields"]
    assert lines[1]["before"]["payload"] == {"n": 2}
    only = scene.look("diff", scene.before, "now", "--only", "removed", "--json").json_lines
    assert [line["jobId"] for line in only] == [third]
    assert first not in answer.out


def test_two_directories_differ_by_jobs(scene, tmp_path):
    scene.look("restore", "--at", scene.before, "--to", tmp_path / "restored")
    lines = scene.look("diff", tmp_path / "restored", scene.directory, "--json").json_lines
    assert [line["change"] for line in lines] == ["changed", "removed"]
    back = scene.look("diff", "now", tmp_path / "restored", "--json").json_lines
    assert [line["change"] for line in back] == ["changed", "added"]
    assert scene.look("diff", "now", "now", "--json").out == ""


def test_a_moment_that_is_not_kept_is_refused_with_the_oldest_that_is(tmp_path, anywhere, monkeypatch):
    monkeypatch.setattr(term, "CHECKPOINT_FLOOR_BYTES", 16 * 1024)
    directory = tmp_path / "queue"
    with BrokerThread(data_dir=directory) as broker:
        url = f"grpc://{broker.address}"
        at = timestamp(int(time.time() * 1_000))
        for n in range(40):
            anywhere("submit", "t", f'"{n}{"x" * 4_000}"', "-b", url)
        while not broker.run(lambda app: checkpoints(app)):
            anywhere("submit", "t", "1", "-b", url)
    refused = anywhere("restore", "--at", at, "--to", tmp_path / "x", "--data-dir", directory)
    assert refused.exit_code == Exit.NOT_FOUND
    assert "LOG_RETENTION" in refused.err
    oldest = refused.err.split("oldest moment that is, is ")[1].split(";")[0]
    assert anywhere("restore", "--at", oldest, "--to", tmp_path / "x", "--data-dir", directory).exit_code == 0


async def checkpoints(app) -> int:
    return app.broker.counters.checkpoints


def test_there_must_be_a_queue(tmp_path, anywhere):
    refused = anywhere("restore", "--at", "1s", "--to", tmp_path / "x", "--data-dir", tmp_path / "nothing")
    assert refused.exit_code == Exit.CONFIG
    assert anywhere("restore", "--at", "1s", "--to", "x", "--storage-backend", "memory").exit_code == Exit.CONFIG


class TestVerify:
    """What is kept is looked at too, and is not called superfluous."""

    @pytest.fixture
    def directory(self, tmp_path, anywhere, monkeypatch):
        """Three checkpoints and the log between them, all of it kept."""
        monkeypatch.setattr(term, "CHECKPOINT_FLOOR_BYTES", 16 * 1024)
        monkeypatch.setattr(checkpointing, "changes_of", lambda state: state.counters.submitted * 1_000_000)
        with BrokerThread(data_dir=tmp_path / "queue", settings={"LOG_RETENTION": "1h"}) as broker:
            payloads = tmp_path / "payloads"
            payloads.write_text("1\n2\n3\n")
            while broker.run(checkpoints) < 3:
                anywhere("submit", "t", "--lines", payloads, "-b", f"grpc://{broker.address}")
                time.sleep(0.004)
        return tmp_path / "queue"

    def verified(self, anywhere, directory):
        answer = anywhere("verify", "--data-dir", directory, "--json")
        assert answer.exit_code == 0, "the queue itself needs nothing of it"
        return answer.json

    def test_it_counts_what_is_kept(self, directory, anywhere):
        report = self.verified(anywhere, directory)
        assert report["restorePoints"] >= 1 and report["kept"] > report["restorePoints"]
        assert (report["leftovers"], report["findings"]) == (0, [])
        assert "the way back in time" in anywhere("verify", "--data-dir", directory).out

    @pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x" * 200), lambda path: path.unlink()])
    def test_damage_to_a_commit_that_is_kept_is_a_warning(self, damage, directory, anywhere):
        key = anywhere("inspect", "--list", "log/", "--data-dir", directory).out.split()[2]
        damage(directory / "objects" / key)
        findings = self.verified(anywhere, directory)["findings"]
        assert {(found["severity"], found["key"]) for found in findings} == {("warning", key)}
        assert "cannot build what the queue was" in " ".join(found["problem"] for found in findings)

    def test_damage_to_a_restore_point_is_a_warning(self, directory, anywhere):
        key = anywhere("inspect", "--list", "restore/", "--data-dir", directory).out.split()[0]
        (directory / "objects" / key).write_bytes(b"{}")
        (found,) = self.verified(anywhere, directory)["findings"]
        assert (found["severity"], found["key"]) == ("warning", key)

"""`osqueue verify`, `inspect`, `diff` and `export` of queues with names, as they lie in the store."""

import json

import pytest

from osqueue_cli.exits import Exit
from osqueue_service.testing.in_process import BrokerThread


@pytest.fixture
def directory(tmp_path, anywhere):
    """What a broker has left: one job in the default queue, two in `emails`, none in `images`, and a queue that is
    gone."""
    with BrokerThread(data_dir=tmp_path / "queue") as broker:
        at = ("-b", f"grpc://{broker.address}")
        for name in ("emails", "images", "gone"):
            assert anywhere("queues", "create", name, *at).exit_code == 0
        anywhere("submit", "t", '{"n": 0}', *at)
        for n in (1, 2):
            anywhere("submit", "t", f'{{"n": {n}}}', "--queue", "emails", *at)
        assert anywhere("queues", "delete", "gone", "--yes", *at).exit_code == 0
    return tmp_path / "queue"


@pytest.fixture
def look(directory, anywhere):
    return lambda command, *arguments: anywhere(command, *arguments, "--data-dir", directory)


def segment_of(directory, look):
    """The key of the last commit of `emails` in the store, and its file."""
    uid = look("inspect", "queue.json", "--queue", "emails").json["root"]["uid"]
    key = look("inspect", "--list", f"data/{uid}/log/").out.split()[-1]
    return key, directory / "objects" / key


def test_verify_checks_every_queue_there_is(look):
    report = look("verify", "--json")
    assert report.exit_code == 0 and report.json["sound"] is True and report.json["queue"] == ""
    assert [(each["queue"], each["sound"]) for each in report.json["queues"]] == [("emails", True), ("images", True)]
    shown = look("verify").out
    assert shown.count("verdict") == 3 and "beside queues/emails.json" in shown


def test_verify_of_one_queue_is_about_that_one(look):
    report = look("verify", "--queue", "emails", "--json").json
    assert report["queue"] == "emails" and report["sequence"] > 0 and "queues" not in report


def test_damage_in_a_named_queue_is_found_and_named_by_its_key_in_the_store(directory, look):
    key, file = segment_of(directory, look)
    file.write_bytes(b"rubbish")
    report = look("verify", "--json")
    assert report.exit_code == Exit.FAILED and report.json["sound"] is False
    damaged = {each["queue"]: each for each in report.json["queues"]}["emails"]
    assert key in [found["key"] for found in damaged["findings"]]
    assert "of 3 queues, these are not sound: emails" in report.err
    assert look("verify", "--queue", "images").exit_code == 0


def test_a_damaged_root_of_a_named_queue_is_found(directory, look):
    (directory / "objects" / "queues" / "images.json").write_bytes(b"{}")
    report = look("verify", "--json")
    assert report.exit_code == Exit.FAILED
    damaged = {each["queue"]: each for each in report.json["queues"]}["images"]
    assert [found["key"] for found in damaged["findings"]] == ["queues/images.json"]


def test_inspect_shows_a_named_queue(look):
    summary = look("inspect", "--queue", "emails", "--json").json
    assert summary["queue"] == "emails" and summary["jobs"]["unclaimed"] == 2
    assert summary["leader"] is None, "whoever leads the default queue leads this one"
    assert look("inspect", "--json").json["jobs"]["unclaimed"] == 1
    assert "emails" in look("inspect", "--queue", "emails").out
    jobs = look("inspect", "--jobs", "--queue", "emails").json_lines
    assert [job["payload"]["n"] for job in jobs] == [1, 2]
    assert all(job["id"].startswith("emails_") for job in jobs)


def test_keys_of_a_named_queue_are_as_in_the_default_one(look):
    assert look("inspect", "queue.json", "--queue", "emails").json["root"]["queue"]["name"] == "emails"
    for key in look("inspect", "--list", "log/", "--queue", "emails").out.split():
        assert look("inspect", key, "--queue", "emails").json["key"] == key


def test_diff_of_a_named_queue(look):
    then = look("diff", "now", "now", "--queue", "emails")
    assert then.exit_code == 0 and "2 equal" in then.err


def test_who_leads_a_named_queue(tmp_path, anywhere):
    place = ("--queue", "emails", "--data-dir", tmp_path / "queue")
    with BrokerThread(data_dir=tmp_path / "queue") as broker:
        anywhere("queues", "create", "emails", "-b", f"grpc://{broker.address}")
        anywhere("submit", "t", "1", "--queue", "emails", "-b", f"grpc://{broker.address}")
        assert anywhere("inspect", *place, "--json").json["leader"] == broker.address
        led = anywhere("export", "--to", tmp_path / "old.json", *place)
    assert led.exit_code == Exit.CONFLICT and broker.address in led.err


def test_export_of_a_named_queue(tmp_path, look):
    assert look("export", "--to", tmp_path / "old.json", "--queue", "emails").exit_code == 0
    jobs = json.loads((tmp_path / "old.json").read_text())["jobs"]
    assert [job["payload"]["n"] for job in jobs] == [1, 2]


@pytest.mark.parametrize(
    "command", [["verify"], ["inspect"], ["inspect", "--jobs"], ["diff", "now", "now"], ["export", "--to", "x.json"]]
)
def test_a_queue_that_there_is_not(command, look):
    unknown = look(*command, "--queue", "email")
    assert unknown.exit_code == Exit.NOT_FOUND and "'emails'" in unknown.err
    assert look(*command, "--queue", "gone").exit_code == Exit.NOT_FOUND
    wrong = look(*command, "--queue", "Not A Name")
    assert wrong.exit_code == Exit.USAGE and "--queue" in wrong.err

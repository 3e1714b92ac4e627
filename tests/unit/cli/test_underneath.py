"""`osqueue inspect` and `osqueue verify`, on a queue in a directory, with and without a broker at work on it."""

import msgspec
import pytest

from osqueue_cli.exits import Exit
from osqueue_service.log.root import decode_root
from osqueue_service.release import RELEASE
from osqueue_service.testing.in_process import BrokerThread


@pytest.fixture
def directory(tmp_path, anywhere):
    """A queue that a broker has left: three jobs, one of them cancelled."""
    with BrokerThread(data_dir=tmp_path / "queue") as broker:
        fill(anywhere, broker)
    return tmp_path / "queue"


def fill(anywhere, broker):
    url = f"grpc://{broker.address}"
    ids = [anywhere("submit", "t", f'{{"n": {n}}}', "-b", url).out.strip() for n in range(3)]
    anywhere("job", "cancel", ids[2], "-b", url)


def test_the_summary(directory, anywhere):
    summary = anywhere("inspect", "--data-dir", directory, "--json").json
    assert summary["jobs"]["unclaimed"] == 2
    assert summary["jobs"]["cancelled"] == 1
    assert summary["leader"] is None
    shown = anywhere("inspect", "--data-dir", directory).out
    assert "2 unclaimed" in shown
    assert "handed over" in shown


def test_while_a_broker_works(tmp_path, anywhere):
    with BrokerThread(data_dir=tmp_path / "queue") as broker:
        fill(anywhere, broker)
        assert anywhere("inspect", "--data-dir", tmp_path / "queue", "--json").json["leader"] == broker.address
        assert anywhere("verify", "--data-dir", tmp_path / "queue").exit_code == 0


def test_the_root(directory, anywhere):
    shown = anywhere("inspect", "queue.json", "--data-dir", directory).json
    assert shown["root"]["format"] == 2
    assert shown["root"]["epoch"] == 1


def test_every_record_is_json(directory, anywhere):
    keys = anywhere("inspect", "--list", "log/", "--data-dir", directory).out.split()
    objects = [anywhere("inspect", key, "--data-dir", directory).json for key in keys]
    segments = [each for each in objects if each["kind"] == "segment"]
    records = [record for segment in segments for record in segment["records"]]
    submitted = [record for record in records if record["record"] == "Submitted"]
    assert [record["jobs"][0]["payload"] for record in submitted] == [{"n": 0}, {"n": 1}, {"n": 2}]
    first = segments[0]
    short = anywhere("inspect", f"{first['lane']}/{first['sequence']}", "--data-dir", directory)
    assert short.json == first


def test_every_job_is_json(directory, anywhere):
    jobs = anywhere("inspect", "--jobs", "--data-dir", directory).json_lines
    assert [(job["payload"]["n"], job["status"]) for job in jobs] == [
        (0, "unclaimed"),
        (1, "unclaimed"),
        (2, "cancelled"),
    ]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"rubbish"), lambda path: path.unlink()])
def test_what_lies_before_the_damage_can_be_salvaged(damage, directory, anywhere):
    third = anywhere("inspect", "--list", "log/", "--data-dir", directory).out.split()[3]
    damage(directory / "objects" / third)
    assert anywhere("inspect", "--jobs", "--data-dir", directory).out == ""
    salvaged = anywhere("inspect", "--jobs", "--salvage", "--data-dir", directory)
    assert [job["payload"] for job in salvaged.json_lines] == [{"n": 0}]
    assert salvaged.exit_code == Exit.FAILED
    assert third in salvaged.err


def test_salvaging_is_about_jobs(directory, anywhere):
    assert anywhere("inspect", "--salvage", "--data-dir", directory).exit_code == Exit.USAGE


def test_a_sound_queue(directory, anywhere):
    report = anywhere("verify", "--data-dir", directory, "--json")
    assert report.exit_code == 0
    assert report.json["sound"] is True
    assert "sound" in anywhere("verify", "--data-dir", directory).out


def test_a_damaged_object_is_named(directory, anywhere):
    key = anywhere("inspect", "--list", "log/", "--data-dir", directory).out.split()[1]
    path = directory / "objects" / key
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = anywhere("verify", "--data-dir", directory)
    assert answer.exit_code == Exit.FAILED
    assert key in answer.out
    report = anywhere("verify", "--data-dir", directory, "--json").json
    assert report["sound"] is False
    assert report["findings"][0]["key"] == key


NEWER = (
    "queue.json: it was written by osqueue 9.9.9 and uses 'future', which osqueue {release} does not know: "
    "start osqueue 9.9.9 again; nothing is damaged"
)


@pytest.fixture
def newer(directory):
    """The queue, once a later release has used something of its own."""
    path = directory / "objects" / "queue.json"
    root = decode_root(path.read_bytes())
    path.write_bytes(msgspec.structs.replace(root, needs=("future",), release="9.9.9").encode())
    return directory


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("inspect",),
        ("inspect", "--jobs"),
        ("inspect", "--jobs", "--salvage"),
        ("inspect", "--at", "1s"),
        ("export", "--to", "exported"),
        ("broker", "--grpc-port", "0"),
    ],
    ids=" ".join,
)
def test_a_queue_of_a_later_release_is_called_that(command, newer, anywhere):
    """It cannot be read to its end, so it is neither called sound nor shown in part."""
    before = {path: path.read_bytes() for path in (newer / "objects").rglob("*") if path.is_file()}
    told = anywhere(*command, "--data-dir", newer)
    assert told.exit_code == Exit.CONFLICT
    assert NEWER.format(release=RELEASE) in told.err
    assert not told.out
    assert {path: path.read_bytes() for path in (newer / "objects").rglob("*") if path.is_file()} == before


def test_the_root_of_a_later_release_is_shown(newer, anywhere):
    assert anywhere("inspect", "queue.json", "--data-dir", newer).json["root"]["needs"] == ["future"]


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["inspect", "queue.json"]])
def test_no_queue_there(command, tmp_path, anywhere):
    answer = anywhere(*command, "--data-dir", tmp_path / "nothing")
    assert answer.exit_code == Exit.CONFIG
    assert "nothing" in answer.err


def test_no_such_object(directory, anywhere):
    assert anywhere("inspect", "log/nope", "--data-dir", directory).exit_code == Exit.NOT_FOUND


def test_memory_cannot_be_looked_at(anywhere):
    answer = anywhere("inspect", "--storage-backend", "memory")
    assert answer.exit_code == Exit.CONFIG
    assert "memory" in answer.err

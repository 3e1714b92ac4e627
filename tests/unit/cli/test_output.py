"""Quantities, tables and JSON as the command line writes them."""

import json

import pytest

from osqueue.api import mapping
from osqueue.api.json_shapes import shape
from osqueue.codecs import Envelope
from osqueue.job import Job, JobError, Progress
from osqueue_cli import output
from osqueue_cli.shapes import bytes_members, preview, to_json
from osqueue_stubs.osqueue.v1.job_pb2 import JobInfo
from tests.filling import filled


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (9_940, "9.9 s"), (59_000, "59 s"), (60_000, "1 min"),
        (200_000, "3 min 20 s"), (3_600_000, "1 h"), (7_500_000, "2 h 5 min"), (273_600_000, "3 d 4 h"),
        (-1_500, "-1.5 s"),
    ],
)  # fmt: skip
def test_durations(ms, text):
    assert output.duration(ms) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 KB"), (1_500_000, "1.5 MB"), (2e12, "2.0 TB")]
)
def test_sizes(count, text):
    assert output.size(count) == text


def test_plurals():
    assert (output.plural(0, "job"), output.plural(1, "job"), output.plural(2_000, "job")) == (
        "0 jobs", "1 job", "2,000 jobs"
    )  # fmt: skip


def test_others_cannot_steer_the_terminal():
    assert output.printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert output.printable("käse ✓") == "käse ✓"


def test_a_table_in_a_pipe_is_cut_nowhere(capsys):
    output.print_table(["ID", "PAYLOAD"], [["1", "x" * 500], ["22", ""]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ID  PAYLOAD", "1   " + "x" * 500, "22"]


def test_a_table_shows_first_lines(capsys):
    output.print_table(["ID", "ERROR"], [["1", "no luck\n  at app.py:3"]])
    assert capsys.readouterr().out == "ID  ERROR\n1   no luck …\n"


def test_a_table_without_rows_is_its_head(capsys):
    output.print_table(["A", "B"], [])
    assert capsys.readouterr().out == "A  B\n"


def test_empty_fields_are_left_out_and_long_ones_indented(capsys):
    output.print_fields({"a": "", "b": None, "name": 0, "text": "one\ntwo"})
    assert capsys.readouterr().out == "name  0\ntext  one\n      two\n"


def test_a_job_as_json():
    job = Job("1", "dead", b'{"n": 1}', result=b"\xff", progress=Progress(0.5, "half"), error=JobError("T", "m"))
    shaped = to_json(job)
    assert (bytes(shaped["payload"]), shaped["resultBase64"]) == (b'{"n": 1}', "/w==")
    assert shaped["progress"] == {"fraction": 0.5, "message": "half", "updatedAt": 0}
    assert shaped["error"] == {"type": "T", "message": "m"}
    assert "retryPolicy" not in shaped
    assert shaped["effectiveMaxAttempts"] == 0


@pytest.mark.parametrize("data", [b"NaN", b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_base64(data):
    assert list(bytes_members("payload", data)) == ["payloadBase64"]


def test_a_job_is_printed_as_the_gateway_answers_it():
    message = filled(JobInfo)
    job = mapping.reader(Job, JobInfo)(message)
    assert to_json(job) == shape(message.DESCRIPTOR).write(message)


def test_numbers_of_a_payload_are_printed_as_they_were_written(capsys):
    payload = b'{"large": 1e999, "exact": 12345678901234567890.10,\n "nan": "NaN"}'
    output.print_json_line(to_json(Job("1", "dead", payload)))
    (line,) = capsys.readouterr().out.splitlines()
    assert '"payload":{"large":1e999,"exact":12345678901234567890.10,"nan":"NaN"}' in line


@pytest.mark.parametrize("figure", [float("inf"), float("nan")])
def test_a_figure_that_is_no_number_is_null(figure, capsys):
    output.print_json({"rate": figure})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"rate": None}


def test_a_preview_is_short():
    assert preview(b"x" * 1_000, 10) == "x" * 10
    assert preview("ä".encode() * 100, 3) == "äää"
    assert preview(b"\xff\xfe") == "(2 bytes)"


def test_a_preview_says_how_a_payload_is_encoded():
    assert preview(Envelope("aes256gcm", "a", b"..").to_bytes()) == "(encrypted with the key 'a', 19 bytes)"
    assert preview(Envelope("zstd", "", b"..").to_bytes()) == "(encoded by 'zstd', 13 bytes)"
    assert preview(b"\x00osq\x01") == "(encoded, but cut short, 5 bytes)"
    assert preview(b"\x00\xff") == "(2 bytes)"

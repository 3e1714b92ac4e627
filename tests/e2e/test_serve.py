"""`osqueue serve` and `osqueue broker` as processes: what they print works, and they end in order."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from osqueue_cli.processes import free_ports

pytestmark = pytest.mark.e2e


def osqueue(*arguments: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "osqueue_cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables},
    )  # fmt: skip


def read_until(stream, text: str) -> str:
    read = ""
    for line in stream:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the process ended without saying {text!r}; it said:\n{read}")


@pytest.fixture
def serve(tmp_path):
    """`osqueue serve` on free ports, stopped in order at the end."""
    grpc, http = free_ports(2)
    process = osqueue(
        "serve", "--data-dir", str(tmp_path / "queue"), "--grpc-port", str(grpc), "--http-port", str(http)
    )
    assert process.stdout is not None
    banner = read_until(process.stdout, "END")
    banner += read_until(process.stdout, "END")
    yield process, banner, grpc, http
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_what_it_prints_works(serve):
    _, banner, grpc, http = serve
    assert f"grpc://localhost:{grpc}" in banner
    curl = next(line for line in banner.splitlines() if line.strip().startswith("curl"))
    answer = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)
    job_id = json.loads(answer.stdout)["jobId"]
    stats = subprocess.run(
        [sys.executable, "-m", "osqueue_cli", *next(
            line for line in banner.splitlines() if line.strip().startswith("osqueue stats")
        ).split()[1:], "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(stats.stdout)["counts"]["unclaimed"] == 1
    with urllib.request.urlopen(f"http://localhost:{http}/v1/jobs/{job_id}") as found:
        assert json.load(found)["job"]["status"] == "unclaimed"
    script = re.search(r"<<'END'\n(.*?)\n\s*END", banner, re.DOTALL)
    assert script is not None
    lines = "\n".join(line[4:] for line in script[1].splitlines())
    assert subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_broker_on_the_directory_is_refused(serve, tmp_path):
    process, *_ = serve
    second = osqueue("broker", "--storage-backend", "file", "--data-dir", str(tmp_path / "queue"), "--grpc-port", "0")
    _, err = second.communicate(timeout=20)
    assert second.returncode == 4
    assert f"process {process.pid}" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["broker", "--grpc-port", "eighty"], "BROKER_GRPC_PORT"),
        (["broker", "--storage-backend", "floppy"], "STORAGE_BACKEND"),
        (["broker", "--storage-backend", "s3"], "S3_BUCKET"),
        (["serve", "--data-dir", "/proc/nowhere"], "/proc/nowhere"),
        (["gateway", "--port", "http"], "BROKER_PORT"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(arguments, text):
    process = osqueue(*arguments)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert text in err
    assert "Traceback" not in err


def test_serve_says_what_it_waits_for_and_stops_when_told_to():
    grpc, http = free_ports(2)
    process = osqueue(
        "serve", "--storage-backend", "s3", "--s3-bucket", "jobs", "--s3-endpoint-url", "http://127.0.0.1:9",
        "--grpc-port", str(grpc), "--http-port", str(http),
        AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nothing",
    )  # fmt: skip
    assert process.stderr is not None
    said = read_until(process.stderr, "asking s3://jobs/")
    assert "http://127.0.0.1:9" in said
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["serve", "broker"])
def test_credentials_in_an_address_are_not_printed(command):
    process = osqueue(
        command, "--storage-backend", "s3", "--s3-bucket", "jobs", "--s3-endpoint-url", "http://key:hunter2@127.0.0.1:9"
    )
    out, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert "S3_ENDPOINT_URL" in err and "hunter2" not in out + err

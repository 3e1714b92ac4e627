"""`python -m osqueue_service` as a process: it starts, stops in order, or says why it cannot start."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc
from tests.servers import free_ports

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def broker(**settings: str) -> Iterator[subprocess.Popen[str]]:
    """A broker process; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "osqueue_service"],
        cwd=ROOT,
        env=environment(settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OSQUEUE_", "BROKER_"))}
    return {**clean, "BROKER_HOST": "127.0.0.1", "LOG_FORMAT": "json", **settings}


def until(process: subprocess.Popen[str], text: str) -> None:
    """Read the log until it says so."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in json.loads(line)["message"]:
            return
    raise AssertionError(f"the broker ended without saying {text!r}")


def outcome(**settings: str) -> tuple[int, str]:
    """Exit status and last words of a broker that is expected not to start."""
    with broker(**settings) as process:
        _, words = process.communicate(timeout=30)
        return process.returncode, words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path, number):
    (port,) = free_ports(1)
    with broker(BROKER_GRPC_PORT=str(port), STORAGE_BACKEND="file", OSQUEUE_DATA_DIR=str(tmp_path / "q")) as process:
        until(process, f"listening on 127.0.0.1:{port}")
        until(process, "leading epoch 1")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"), timeout=10)
        process.send_signal(number)
        until(process, "handing over and stopping")
        assert process.wait(timeout=30) == 0


def test_a_wrong_setting_is_named(tmp_path):
    status, words = outcome(BROKER_GRPC_PORT="eighty")
    assert status == 2
    assert "BROKER_GRPC_PORT" in words and "whole number" in words


def test_a_port_in_use_is_named():
    (port,) = free_ports(1)
    with broker(BROKER_GRPC_PORT=str(port)) as first:
        until(first, "listening on")
        status, words = outcome(BROKER_GRPC_PORT=str(port))
    assert status == 2
    assert "BROKER_GRPC_PORT" in words and str(port) in words


def test_an_unusable_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    status, words = outcome(STORAGE_BACKEND="file", OSQUEUE_DATA_DIR=str(tmp_path / "file"), BROKER_GRPC_PORT="0")
    assert status == 2
    assert str(tmp_path / "file") in words


def test_a_directory_that_another_broker_owns_is_named(tmp_path):
    settings = {"STORAGE_BACKEND": "file", "OSQUEUE_DATA_DIR": str(tmp_path / "q"), "BROKER_GRPC_PORT": "0"}
    with broker(**settings) as first:
        until(first, "leading epoch")
        status, words = outcome(**settings)
    assert status == 2
    assert str(tmp_path / "q") in words

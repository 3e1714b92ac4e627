"""Object storage servers that tests start for themselves, on free ports of the loopback interface.

`scripts/install_test_servers.sh` puts them where `scripts.tools.place` says.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from scripts.tools import place

INSTALL_SCRIPT = "scripts/install_test_servers.sh"
PROOF_SCRIPT = "scripts/install_proof_servers.sh"
REQUIRED = os.environ.get("OSQUEUE_REQUIRE_SERVERS") == "1"

LOOPBACK = "127.0.0.1"
START_SECONDS_MAX = 60


class NotInstalled(Exception):
    """The server is not there; the message says what to run."""


class Server(NamedTuple):
    """A running server. `endpoint` is its URL, `port` the one that a proxy would forward to."""

    name: str
    endpoint: str
    port: int


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def ministack(services: str = "s3") -> Iterator[Server]:
    """An emulator of AWS, in memory: of S3, unless others of its `services` are named, or "" for all."""
    program = installed("ministack", "bin/ministack")
    (port,) = free_ports(1)
    environment = {"GATEWAY_PORT": str(port), "BIND_HOST": LOOPBACK, "SERVICES": services, "LOG_LEVEL": "WARNING"}
    with _running("ministack", [program], environment, [port]):
        yield Server("ministack", f"http://{LOOPBACK}:{port}", port)


@contextmanager
def seaweedfs() -> Iterator[Server]:
    """SeaweedFS with its S3 gateway, on disk."""
    program = installed("SeaweedFS", "bin/weed")
    ports = free_ports(8)
    directory = tempfile.mkdtemp(prefix="seaweedfs-")
    names = ("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc", "master.port", "master.port.grpc")
    command = [program, "server", f"-dir={directory}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", "-filer", "-s3"]
    command += [
        f"-{name}={port}" for name, port in zip((*names, "volume.port", "volume.port.grpc"), ports, strict=True)
    ]
    command += [
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=256",
    ]
    command += [f"-filer.localSocket={directory}/filer.sock", f"-s3.localSocket={directory}/s3.sock", "-s3.iam=false"]
    try:
        with _running("SeaweedFS", command, {}, ports):
            yield Server("SeaweedFS", f"http://{LOOPBACK}:{ports[0]}", ports[0])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def minio() -> Iterator[Server]:
    """MinIO, on disk. Only where `make proof` has installed it."""
    program = installed("MinIO", "minio", PROOF_SCRIPT)
    port, console = free_ports(2)
    environment = {
        "MINIO_ROOT_USER": os.environ["AWS_ACCESS_KEY_ID"],
        "MINIO_ROOT_PASSWORD": os.environ["AWS_SECRET_ACCESS_KEY"],
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
    }
    with tempfile.TemporaryDirectory(prefix="minio-", ignore_cleanup_errors=True) as directory:
        command = [program, "server", "--address", f"{LOOPBACK}:{port}", "--console-address", f"{LOOPBACK}:{console}"]
        with _running("MinIO", [*command, directory], environment, [port]):
            yield Server("MinIO", f"http://{LOOPBACK}:{port}", port)


@contextmanager
def versitygw() -> Iterator[Server]:
    """VersityGW over a folder. Only where `make proof` has installed it."""
    program = installed("VersityGW", "versitygw", PROOF_SCRIPT)
    (port,) = free_ports(1)
    environment = {
        "ROOT_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    with tempfile.TemporaryDirectory(prefix="versitygw-", ignore_cleanup_errors=True) as directory:
        command = [program, "--port", f"{LOOPBACK}:{port}", "--quiet", "--keep-alive", "posix", directory]
        with _running("VersityGW", command, environment, [port]):
            yield Server("VersityGW", f"http://{LOOPBACK}:{port}", port)


@contextmanager
def fake_gcs_server() -> Iterator[Server]:
    """An emulator of GCS, in memory."""
    program = installed("fake-gcs-server", "fake-gcs-server")
    (port,) = free_ports(1)
    endpoint = f"http://{LOOPBACK}:{port}"
    command = [program, "-backend=memory", "-scheme=http", f"-host={LOOPBACK}", f"-port={port}"]
    command += [f"-external-url={endpoint}", f"-public-host={LOOPBACK}:{port}", "-log-level=error"]
    with _running("fake-gcs-server", command, {}, [port]):
        yield Server("fake-gcs-server", endpoint, port)


@contextmanager
def s3rver() -> Iterator[Server]:
    """An S3 server that ignores every condition: what the self-test must refuse."""
    program = installed("s3rver", "node_modules/.bin/s3rver")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="s3rver-") as directory:
        command = [program, "-d", directory, "-a", LOOPBACK, "-p", str(port), "--silent"]
        command += ["--configure-bucket", "osqueue"]
        with _running("s3rver", command, {}, [port]):
            yield Server("s3rver", f"http://{LOOPBACK}:{port}", port)


def installed(name: str, path: str, script: str = INSTALL_SCRIPT) -> str:
    """The program of a server at `path` in its folder; NotInstalled otherwise. `script` installs it."""
    program = place(name.lower()) / path
    if not program.exists():
        raise NotInstalled(f"{name} is not installed: run {script}")
    return str(program)


@contextmanager
def _running(name: str, command: Sequence[str], environment: Mapping[str, str], ports: Sequence[int]) -> Iterator[None]:
    """The process, once it listens on all its ports; ended in the end."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: _listens(name, process, ports, output.fileno()), f"{name} to listen on {list(ports)}")
            yield
        finally:
            # What they stored goes with them, so there is nothing to wait for.
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again: another program's start has no event to wait for."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_SECONDS_MAX} s for {what}")
        time.sleep(0.05)


def _listens(name: str, process: subprocess.Popen[bytes], ports: Sequence[int], output: int) -> bool:
    if process.poll() is not None:
        said = os.pread(output, 20_000, 0).decode(errors="replace")
        raise RuntimeError(f"{name} ended with status {process.returncode}:\n{said}")
    for port in ports:
        with socket.socket() as one:
            one.settimeout(1)
            if one.connect_ex((LOOPBACK, port)):
                return False
    return True

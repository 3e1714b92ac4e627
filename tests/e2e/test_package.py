"""The built wheel, installed with nothing but its base dependencies."""

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A producer or worker installs none of these.
NOT_FOR_CLIENTS = ["aiohttp", "boto3", "click", "google.cloud.storage", "grpc_tools", "msgspec", "rich", "zstandard"]

PROBE = f"""
import importlib.util, json, sys

def is_installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

import osqueue
from osqueue_stubs.osqueue.v1 import admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc

request = queue_pb2.SubmitJobRequest(payload=b"x", type="email")
json.dump({{
    "sdk": osqueue.__file__,
    "stubs": queue_pb2.__file__,
    "module": queue_pb2.SubmitJobRequest.__module__,
    "bytes": request.SerializeToString().hex(),
    "unwanted": [name for name in {NOT_FOR_CLIENTS!r} if is_installed(name)],
}}, sys.stdout)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    (built,) = out.glob("osqueue-*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that holds the wheel and its base dependencies, at the locked versions."""
    directory = tmp_path_factory.mktemp("clean")
    venv.create(directory / "venv", with_pip=True)
    constraints = directory / "constraints.txt"
    pins = re.findall(r"^\S+==[^\s\\]+(?: ; [^\\\n]+)?", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins))
    python = directory / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", constraints, wheel, cwd=directory)
    return python


@pytest.mark.e2e
def test_the_wheel_holds_typed_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top_level = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    packages = {"gateway", "osqueue", "osqueue_cli", "osqueue_service", "osqueue_stubs", "osqueue_testing"}
    assert top_level == packages
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert "osqueue_stubs/osqueue/v1/queue_pb2_grpc.pyi" in names


@pytest.mark.e2e
def test_a_client_installs_only_what_it_needs_and_the_stubs_load(clean_python):
    probe = json.loads(run(clean_python, "-c", PROBE, cwd=clean_python.parent))
    environment = str(clean_python.parent.parent)
    assert probe["sdk"].startswith(environment)
    assert probe["stubs"].startswith(environment)
    assert probe["module"] == "osqueue_stubs.osqueue.v1.queue_pb2"
    assert probe["bytes"] == "0a01781a05656d61696c"
    assert probe["unwanted"] == []


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout

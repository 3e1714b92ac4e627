"""What users install: the wheel and the sdist, with and without extras, in environments that hold nothing else."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"

PACKAGES = {
    "osqueue",
    "osqueue_cli",
    "osqueue_deploy",
    "osqueue_gateway",
    "osqueue_protocol",
    "osqueue_server",
    "osqueue_service",
    "osqueue_stubs",
    "osqueue_testing",
}

# A producer or worker installs none of these.
NOT_FOR_CLIENTS = [
    "aiohttp",
    "boto3",
    "click",
    "google.cloud.storage",
    "grpc_health",
    "grpc_reflection",
    "grpc_tools",
    "msgspec",
    "pytest",
    "rich",
    "zstandard",
]

IMPORTED_MODULES_MAX = 220
"""`import osqueue` loads some 190 modules, the standard library included; grpc, aiohttp or pydantic add hundreds."""

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

# What each extra is for, done with nothing but it.
EXTRAS = {
    "cli": "from osqueue_cli.cli import cli; cli.main(['stats', '--help'], prog_name='osqueue')",
    "gateway": (
        "from osqueue_gateway.app import Gateway; from osqueue_gateway.config import GatewayConfig; GatewayConfig()"
    ),
    "server": """
import osqueue
from osqueue_service.testing.in_process import BrokerThread
import osqueue_gateway.app, osqueue_cli.cli, osqueue_cli.commands.serve
from osqueue_server import BrokerServer

with BrokerThread() as broker, osqueue.SyncClient(broker.address) as client:
    client.submit_job("email", {"to": "ada"})
    assert client.claim_job("w") is not None
""",
    "server,s3": "import osqueue_service.storage.s3",
    "server,gcs": "import osqueue_service.storage.gcs",
    "aws": """
import osqueue_deploy.aws.deployment
from osqueue_cli.cli import cli

cli.main(["deploy", "aws", "--stage", "dev", "--dry-run"], prog_name="osqueue")
""",
    "encryption": "import osqueue; osqueue.Encryption({'k1': bytes(32)})",
    "compression": "import osqueue; osqueue.Compression()",
    "jwt": "import jwt.algorithms; assert jwt.algorithms.has_crypto",
    "sentry": "import osqueue.contrib.sentry",
    "django": "import osqueue.contrib.django.tasks_api",
    "flask": "import osqueue.contrib.flask",
    # Both say themselves what they lack: the one does nothing without the API, the other cannot be imported.
    "otel": "from osqueue.contrib.opentelemetry import INSTALLED, Tracing; Tracing(); assert INSTALLED",
    "prometheus": "import osqueue.contrib.prometheus",
    "testing": """
import pytest
import osqueue_testing.plugin

with osqueue_testing.plugin.InProcessQueue() as queue:
    queue.assert_not_enqueued()
""",
}

TYPED_PROGRAM = """
from pydantic import BaseModel

from osqueue import OsqueueClient, Registry


class Email(BaseModel):
    to: str


email = Registry().job("email", Email, int)


async def send(client: OsqueueClient) -> None:
    job = await client.submit_job(email, Email(to="ada"))
    number: int = await job.result()
    text: str = await job.result()
    await client.submit_job(email, 7)
"""

MakeEnvironment = Callable[[str], Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an sdist and a wheel of this tree."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out, "--sdist", "--wheel")
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("osqueue-*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    (sdist,) = built.glob("osqueue-*.tar.gz")
    return sdist


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked versions."""
    pins = re.findall(r"^\S+==[^\s\\]+(?: ; [^\\\n]+)?", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(pins))
    return path


@pytest.fixture(scope="module")
def environment(constraints: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeEnvironment:
    """Makes an environment that holds what is asked for and its dependencies; the interpreter of it."""

    def make(requirement: str) -> Path:
        folder = tmp_path_factory.mktemp("clean")
        run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
        python = folder / "venv" / "bin" / "python"
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--constraint", constraints]
        run(UV, *install, requirement, cwd=folder)
        return python

    return make


@pytest.fixture(scope="module")
def clean_python(wheel: Path, environment: MakeEnvironment) -> Path:
    """The interpreter of an environment that holds the wheel and its base dependencies."""
    return environment(str(wheel))


class TestWheel:
    def test_it_holds_typed_packages_and_nothing_else(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
        assert "osqueue_stubs/osqueue/v1/queue_pb2_grpc.pyi" in names

    def test_it_brings_the_proto_files_for_other_languages_and_tools(self, wheel: Path) -> None:
        packed = zipfile.ZipFile(wheel)
        sources = {path.name: path.read_text() for path in (ROOT / "proto" / "osqueue" / "v1").glob("*.proto")}
        assert sources
        for name, text in sources.items():
            assert packed.read(f"osqueue_stubs/proto/osqueue/v1/{name}").decode() == text

    def test_a_client_installs_only_what_it_needs_and_the_stubs_load(self, clean_python: Path) -> None:
        probe = json.loads(run(clean_python, "-c", PROBE, cwd=clean_python.parent))
        installed_in = str(clean_python.parent.parent)
        assert probe["sdk"].startswith(installed_in)
        assert probe["stubs"].startswith(installed_in)
        assert probe["module"] == "osqueue_stubs.osqueue.v1.queue_pb2"
        assert probe["bytes"] == "0a01781a05656d61696c"
        assert probe["unwanted"] == []

    def test_the_command_says_which_extra_it_needs(self, clean_python: Path) -> None:
        ran = subprocess.run([clean_python.parent / "osqueue"], capture_output=True, text=True, check=False)
        assert ran.returncode != 0
        assert "pip install 'osqueue[cli]'" in ran.stderr

    def test_importing_it_loads_little(self, clean_python: Path) -> None:
        """Counted, not timed: how long an import takes depends on the machine, what it loads does not."""
        code = "import sys; before = set(sys.modules); import osqueue; print(len(set(sys.modules) - before))"
        assert int(run(clean_python, "-c", code, cwd=clean_python.parent)) <= IMPORTED_MODULES_MAX

    def test_its_types_reach_the_users_type_checker(self, clean_python: Path, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(TYPED_PROGRAM)
        command = ["-m", "mypy", "--strict", "--no-incremental", "--no-error-summary", "--config-file", os.devnull]
        ran = subprocess.run(
            [sys.executable, *command, "--python-executable", clean_python, program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        complaints = ran.stdout.splitlines()
        lines = [int(re.match(r"program\.py:(\d+): error", line)[1]) for line in complaints if ": error:" in line]  # type: ignore[index]
        wrong = [n for n, line in enumerate(TYPED_PROGRAM.splitlines(), 1) if "text: str" in line or ", 7)" in line]
        assert sorted(set(lines)) == wrong, ran.stdout


class TestExtras:
    @pytest.mark.parametrize("extra", EXTRAS)
    def test_an_extra_brings_all_that_it_is_for(self, extra: str, wheel: Path, environment: MakeEnvironment) -> None:
        python = environment(f"osqueue[{extra}] @ {wheel.as_uri()}")
        run(python, "-c", EXTRAS[extra], cwd=python.parent)

    def test_every_extra_is_tried(self, wheel: Path) -> None:
        (name,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA")]
        metadata = zipfile.ZipFile(wheel).read(name).decode()
        offered = set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE))
        tried = {part for extra in EXTRAS for part in extra.split(",")}
        assert offered - tried == {"all", "dev"}


class TestSdist:
    def test_it_holds_the_project_and_nothing_of_this_machine(self, sdist: Path) -> None:
        with tarfile.open(sdist) as archive:
            paths = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
        top_level = {path.parts[0] for path in paths if path.parts}
        folders = PACKAGES - {"osqueue_gateway"} | {"gateway", "docs", "examples", "proto", "tests"}
        assert top_level >= folders | {"pyproject.toml", "LICENSE", "README.md"}
        assert top_level.isdisjoint({".venv", ".cache", ".ci", ".git", "build", "dist"})
        assert not [path for path in paths if "__pycache__" in path.parts or path.suffix == ".pyc"]

    def test_a_wheel_built_from_it_is_the_same(self, sdist: Path, wheel: Path, tmp_path: Path) -> None:
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path / "source", filter="data")
        (source,) = (tmp_path / "source").iterdir()
        build(source, tmp_path / "dist", "--wheel")
        (rebuilt,) = (tmp_path / "dist").glob("*.whl")
        assert contents(rebuilt) == contents(wheel)

    def test_it_installs_into_a_clean_environment(self, sdist: Path, environment: MakeEnvironment) -> None:
        python = environment(str(sdist))
        assert json.loads(run(python, "-c", PROBE, cwd=python.parent))["unwanted"] == []


def build(source: Path, out: Path, *kinds: str) -> None:
    run(sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", out, source, cwd=source)


def contents(wheel: Path) -> dict[str, int]:
    """The checksum of every file."""
    return {entry.filename: entry.CRC for entry in zipfile.ZipFile(wheel).infolist()}


def run(*command: str | Path, cwd: Path) -> str:
    ran = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout

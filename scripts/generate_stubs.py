"""Generates osqueue_stubs/ from proto/, so that it imports as `osqueue_stubs.osqueue.v1...`.

protoc writes `from osqueue.v1 import job_pb2`, which would claim the SDK's own name `osqueue`; so every import and
module name moves under `osqueue_stubs`. It also has the stubs refuse runtimes older than itself, which would force
upgrades on whoever installs osqueue beside other packages; that goes, with the one argument that older runtimes do not
know, and scripts/prove_runtimes.py proves that they work. With --check nothing is written and a difference fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "osqueue_stubs"
PACKAGE = "osqueue_stubs"

IMPORT = re.compile(r"^(from|import) (osqueue\.|externalscaler\b)", re.MULTILINE)
MODULE_NAME = re.compile(r"'(osqueue\.v1|externalscaler)\.(\w+_pb2)'")

VERSION_OF_PROTOBUF = re.compile(
    r"from google\.protobuf import runtime_version as _runtime_version\n|"
    r"_runtime_version\.ValidateProtobufRuntimeVersion\((?:.|\n)*?\n\)\n"
)
VERSION_OF_GRPC = re.compile(
    r"GRPC_GENERATED_VERSION = (?:.|\n)*?\n    \)\n|^import warnings\n|^GRPC_(?:GENERATED_)?VERSION: str\n",
    re.MULTILINE,
)
REGISTERED = re.compile(
    r",\s*_registered_method=True|^    server\.add_registered_method_handlers\(.*\)\n", re.MULTILINE
)

PACKAGE_DOCSTRING = '"""Generated from proto/ and interop/ by `make stubs`; never edited by hand."""\n'


def generate() -> dict[str, str]:
    """The generated package: file contents by path below osqueue_stubs/."""
    with tempfile.TemporaryDirectory() as directory:
        run_buf(directory)
        out = Path(directory)
        sources = {path.relative_to(out).as_posix(): path.read_text() for path in sorted(out.rglob("*.py*"))}
    stubs = {
        path: take_any_runtime(move_imports(text))
        for path, text in sources.items()
        if not is_empty_service(path, sources)
    }
    for package in ("", "osqueue/", "osqueue/v1/", "externalscaler/"):
        stubs[f"{package}__init__.py"] = PACKAGE_DOCSTRING
    stubs["py.typed"] = ""
    return stubs


def run_buf(out: str) -> None:
    """Runs the plugins of buf.gen.yaml with those of this interpreter's environment first on the path."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["buf", "generate", "--output", out], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise SystemExit(f"buf generate failed:\n{result.stderr}{result.stdout}")


def is_empty_service(path: str, sources: dict[str, str]) -> bool:
    """A file without services still gets a module for them; it would be noise."""
    return "_pb2_grpc.py" in path and "Servicer" not in sources[path.removesuffix("i")]


def move_imports(text: str) -> str:
    return MODULE_NAME.sub(rf"'{PACKAGE}.\1.\2'", IMPORT.sub(rf"\1 {PACKAGE}.\2", text))


def take_any_runtime(text: str) -> str:
    for checked in (VERSION_OF_PROTOBUF, VERSION_OF_GRPC, REGISTERED):
        text = checked.sub("", text)
    return text


def committed() -> dict[str, str]:
    files = (path for path in STUBS.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(STUBS).as_posix(): path.read_text() for path in files}


def write(stubs: dict[str, str]) -> None:
    for stale in committed().keys() - stubs.keys():
        (STUBS / stale).unlink()
    for name, text in stubs.items():
        path = STUBS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail when the committed stubs are not what proto/ yields")
    check = parser.parse_args().check
    stubs, found = generate(), committed()
    differing = sorted(name for name in stubs.keys() | found.keys() if stubs.get(name) != found.get(name))
    if check and differing:
        raise SystemExit("osqueue_stubs/ is stale; run `make stubs`. Differing: " + ", ".join(differing))
    if not check:
        write(stubs)
        print(f"osqueue_stubs/: {len(stubs)} files, {len(differing)} changed")


if __name__ == "__main__":
    main()

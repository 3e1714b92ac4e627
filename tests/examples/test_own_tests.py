"""The examples' own tests pass, run as whoever copies them would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 110


@pytest.mark.parametrize("example", ["persistence", "web"])
def test_they_pass(example: str, tmp_path: Path) -> None:
    settings = tmp_path / "pytest.ini"  # theirs, not this project's
    settings.write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    folder = ROOT / "examples" / example
    command = [
        "-m",
        "pytest",
        "-q",
        "-c",
        str(settings),
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        str(folder),
    ]
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


def test_every_example_with_tests_is_named_here() -> None:
    with_tests = {path.parent.name for path in (ROOT / "examples").rglob("test_*.py")}
    assert with_tests == {"persistence", "web"}

#!/usr/bin/env python3
"""Build the wheel of the release before this one, for the tests of upgrades: `build_earlier_wheel.py DIRECTORY`.

scripts/earlier_release.txt names the commit; it must be in this clone's history. The wheel's path is printed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = ROOT / "scripts" / "earlier_release.txt"


def commit() -> str:
    """The commit that stands for the release before this one."""
    return next(line for line in NAMED.read_text().splitlines() if line and not line.startswith("#"))


def build(directory: Path) -> Path:
    """Build the wheel into `directory`; raises `CalledProcessError` where the commit is not at hand."""
    with tempfile.TemporaryDirectory() as tree:
        archive = subprocess.run(["git", "archive", commit()], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
        build_wheel(Path(tree), directory)
    (wheel,) = directory.glob("*.whl")
    return wheel


def build_wheel(tree: Path, directory: Path) -> None:
    """The wheel of a source tree, with the tools of the development environment and no network."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(directory), str(tree)], check=True)


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))

"""Programs that check what is deployed, as scripts/install_deploy_tools.sh installs them."""

import subprocess
from pathlib import Path

import pytest

from scripts.tools import place
from tests import servers


def program(tool: str, path: str) -> str:
    """The program of a tool; the test is skipped where it is not installed, unless servers and tools are required."""
    found = place(tool) / path
    if not (place(tool) / ".complete").exists():
        missing = f"{tool} is not installed: run scripts/install_deploy_tools.sh"
        if servers.REQUIRED:
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return str(found)


def run(*command: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """A program to its end, with what it said."""
    return subprocess.run([*map(str, command)], input=given, capture_output=True, text=True, check=False, timeout=100)

"""The units of systemd: sound, hardened, and of one mind with the programs about when these serve and stop."""

import re
import shutil
from pathlib import Path

import pytest

from osqueue_cli.cli import SECTIONS
from tests import servers
from tests.deploy.tools import run

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy/systemd").glob("*.service"))
EXPOSURE_MAX = 15
"""Tenths of systemd's own measure, 0 to 10.0: below 2 it calls a service safe."""


def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        if servers.REQUIRED and shutil.which("apt-get"):
            pytest.fail("systemd-analyze is not installed: run scripts/install_deploy_tools.sh", pytrace=False)
        pytest.skip("systemd-analyze is not installed: it comes with systemd")
    return found


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_there_are_units() -> None:
    assert [unit.name for unit in UNITS] == ["osqueue-broker.service", "osqueue-gateway.service", "osqueue.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_sound(unit: Path, tmp_path: Path) -> None:
    program = tmp_path / "osqueue"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/osqueue/bin/osqueue", str(program)))
    done = run(analyze(), "verify", "--man=no", copy)
    assert [line for line in done.stderr.splitlines() if tmp_path.name in line or unit.name in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_hardened(unit: Path) -> None:
    done = run(analyze(), "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_there_is_and_waits_for_its_word(unit: Path) -> None:
    said = settings(unit)
    (command,) = said["ExecStart"]
    assert command.split()[1] in SECTIONS["Run a queue"]
    assert (said["Type"], said["NotifyAccess"]) == (["notify"], ["main"])
    assert int(said["TimeoutStopSec"][0] if "TimeoutStopSec" in said else 90) >= 30
    assert said["WatchdogSec"] and "OSQUEUE_TOKEN=" not in unit.read_text()

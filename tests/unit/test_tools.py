"""One file names the tools beside .venv, and every script that installs one reads it."""

import re
import subprocess
from pathlib import Path

from scripts.tools import VERSIONS, place

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.name: path.read_text() for path in (ROOT / "scripts").glob("*.sh")}


def test_no_script_names_a_version_of_its_own() -> None:
    for name, text in SCRIPTS.items():
        assert not re.findall(r"^[A-Z0-9_]+=v?[0-9.]+$", text, re.MULTILINE), name
        assert not re.findall(r"[a-z]@v?[0-9]|==[0-9]", text), name


def test_every_version_is_wanted_by_a_script() -> None:
    for tool in VERSIONS:
        assert any(f"${tool}" in text for text in SCRIPTS.values()), tool


def test_shell_and_python_look_in_the_same_place(tmp_path: Path) -> None:
    ask = 'source scripts/tools.sh; missing fake-gcs-server "$FAKE_GCS_SERVER" && complete >/dev/null; echo "$place"'
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    said = subprocess.run(
        ["bash", "-c", ask], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(said).name == place("fake-gcs-server").name
    assert Path(said).parent == tmp_path / ".cache" / "osqueue-tools"
    assert (Path(said) / ".complete").exists()

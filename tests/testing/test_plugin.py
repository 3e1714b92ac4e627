"""The pytest fixtures, in the project that the guide shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "testing.md"
_FILE = re.compile(r"^```python (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)

SECONDS_MAX = 60


def _pytest(folder: Path) -> str:
    """What pytest says about the tests of a folder, without any of our own configuration."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--rootdir",
            str(folder),
            "-c",
            os.devnull,
            "-p",
            "no:cacheprovider",
            ".",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return ran.stdout + ran.stderr


def test_the_project_of_the_guide_passes(tmp_path: Path) -> None:
    files = dict(_FILE.findall(GUIDE.read_text()))
    assert set(files) == {"conftest.py", "shop.py", "test_shop.py"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert "1 passed" in _pytest(tmp_path)


def test_each_test_has_an_empty_queue_and_no_registry_is_needed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["osqueue_testing.plugin"]\n')
    (tmp_path / "test_two.py").write_text(
        "import os, pytest, osqueue\n"
        "@pytest.mark.parametrize('turn', [1, 2])\n"
        "def test_it(job_queue, turn):\n"
        "    assert os.environ['BROKER_URL'] == job_queue.url\n"
        "    job_queue.assert_not_enqueued()\n"
        "    with osqueue.SyncClient() as client:\n"
        "        client.submit_job('email', 1)\n"
        "    job_queue.assert_enqueued('email', count=1)\n"
        "def test_none():\n"
        "    assert 'BROKER_URL' not in os.environ\n"
    )
    assert "3 passed" in _pytest(tmp_path)

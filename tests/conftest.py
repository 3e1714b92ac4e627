"""What holds for every test: how they are spread, and that none changes what the next one's log shows.

Several run side by side (`make test` starts as many processes as there are cores).

What breaks real processes spends its time waiting, so all of it goes through one process while the others compute. What
shares something dear within a file (a browser, a built wheel, a cluster) stays together.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent

_ONE_AFTER_THE_OTHER = {"chaos"}
"""Folders whose tests run in one process, all of them."""

_BY_FILE = {"browser", "deploy", "e2e", "docs", "examples", "contrib"}
"""Folders of which each file runs in one process."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        path = item.path.relative_to(_TESTS)
        folder = path.parts[0]
        if folder in _ONE_AFTER_THE_OTHER:
            item.add_marker(pytest.mark.xdist_group(folder))
        elif folder in _BY_FILE:
            item.add_marker(pytest.mark.xdist_group(path.as_posix()))


@pytest.fixture(autouse=True)
def _log_level_as_before() -> Iterator[None]:
    """Commands that a test runs in this process set up the log of the whole process."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)

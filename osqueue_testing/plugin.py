"""pytest fixtures. Put `pytest_plugins = ["osqueue_testing.plugin"]` into the conftest.py at the root of your tests."""

from collections.abc import Iterator

import pytest

from osqueue import Registry
from osqueue_testing.queue import InProcessQueue


@pytest.fixture
def job_registry() -> Registry:
    """The job types that `job_queue` knows: none. Define a fixture of this name that returns yours."""
    return Registry()


@pytest.fixture
def job_queue(job_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessQueue]:
    """An empty queue of this test's own, whose time stands still.

    BROKER_URL points to it, so that clients which are made during the test and are given no address use it.
    """
    with InProcessQueue(registry=job_registry) as queue:
        monkeypatch.setenv("BROKER_URL", queue.url)
        yield queue

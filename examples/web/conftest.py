"""Each test has a queue of its own, which knows our job types; the application finds it by BROKER_URL."""

import pytest
from jobs import registry

from osqueue import Registry

pytest_plugins = ["osqueue_testing.plugin"]


@pytest.fixture
def job_registry() -> Registry:
    return registry

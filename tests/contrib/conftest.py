"""A broker in a thread, and a Django site that uses it."""

from collections.abc import Iterator

import pytest

from osqueue_service.testing.in_process import BrokerThread


@pytest.fixture
def broker() -> Iterator[BrokerThread]:
    with BrokerThread() as running:
        yield running

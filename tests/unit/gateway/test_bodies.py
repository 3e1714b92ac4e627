import pytest

from osqueue.errors import QueueFullError
from osqueue_gateway.bodies import SMALL_BYTES, Budget


def test_small_sizes_are_free():
    budget = Budget(0)
    budget.take(SMALL_BYTES)
    budget.give(SMALL_BYTES)
    assert budget.used == 0


def test_large_sizes_are_counted_up_to_the_limit():
    budget = Budget(100_000)
    budget.take(60_000)
    budget.take(40_000)
    with pytest.raises(QueueFullError, match="100000"):
        budget.take(SMALL_BYTES + 1)
    budget.give(60_000)
    budget.take(SMALL_BYTES + 1)
    assert budget.used == 40_000 + SMALL_BYTES + 1

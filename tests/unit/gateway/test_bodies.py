import asyncio

import pytest

from osqueue.errors import QueueFullError
from osqueue_gateway.bodies import SMALL_BYTES, Budget, Message


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


async def test_a_message_is_late_when_it_is_awaited_for_too_long() -> None:
    message = Message(Budget(100))
    now = asyncio.get_running_loop().time()
    assert message.grow(b"x") and not message.is_late(now + 1)
    message.awaited()
    assert message.is_late(asyncio.get_running_loop().time() + 1)
    assert not message.is_late(now)
    message.end()
    assert not message.is_late(now + 1)


async def test_an_answer_to_a_ping_is_no_message() -> None:
    message = Message(Budget(100))
    message.awaited()
    soon = asyncio.get_running_loop().time() + 1
    for pong in (b"\x8a\x80" + bytes(4), b"\x8a\x83" + bytes(4) + b"abc"):
        assert message.grow(pong) and not message.is_late(soon)
    assert message.grow(b"\x8a\x83" + bytes(4) + b"abcd") and message.is_late(soon)


async def test_a_message_that_grows_beyond_the_budget_has_no_room() -> None:
    budget = Budget(3 * SMALL_BYTES)
    message, other = Message(budget), Message(budget)
    assert message.grow(b"x" * SMALL_BYTES) and budget.used == 0
    assert message.grow(b"x" * SMALL_BYTES) and budget.used == 2 * SMALL_BYTES
    assert other.grow(b"x" * SMALL_BYTES)
    assert not other.grow(b"x") and budget.used == 2 * SMALL_BYTES
    assert message.grow(b"x" * SMALL_BYTES) and budget.used == 3 * SMALL_BYTES
    message.end()
    other.end()
    assert budget.used == 0

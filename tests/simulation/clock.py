"""The broker's `Clock` and `IdSource`, as one simulated process has them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from osqueue_service.clock import Timer
from tests.simulation.loop import Node

T = TypeVar("T")

WALL_START_MS = 1_700_000_000_000
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


class SimClock:
    """Time as a node sees it: its own rate, its own wall clock, nothing while it is suspended."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def wall_ms(self) -> int:
        return WALL_START_MS + int(self._node.loop.now_ms + self._node.wall_shift_ms)

    def monotonic_ms(self) -> float:
        return self._node.monotonic_ms()

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(delay_ms / 1_000 / self._node.rate)

    def call_later_ms(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        loop = self._node.loop
        return loop.call_at((loop.now_ms + delay_ms / self._node.rate) / 1_000, callback)

    async def within_ms(self, limit_ms: float, work: Awaitable[T]) -> T:
        async with asyncio.timeout(limit_ms / 1_000 / self._node.rate):
            return await work


class SimIds:
    """Identities from a seed."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def salt(self) -> str:
        return self._text(6)

    def token(self) -> str:
        return self._text(22)

    def incarnation(self) -> str:
        return self._text(26)

    def nonce(self) -> str:
        return self._text(16)

    def jitter(self) -> float:
        return self._draw.random()

    def _text(self, length: int) -> str:
        bits = self._draw.getrandbits(length * 5)
        return "".join(_LETTERS[bits >> shift & 31] for shift in range(0, length * 5, 5))

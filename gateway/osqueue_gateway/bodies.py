"""Request bodies: read within bounds of size, time and memory."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import StreamReader, hdrs, web

from osqueue.errors import QueueFullError
from osqueue_gateway.errors import Refusal, overloaded
from osqueue_gateway.limits import Limits

T = TypeVar("T")

APART_BYTES = 256 * 1024
"""Taking apart what is larger may take longer than others should wait."""

SMALL_BYTES = 16 * 1024
"""Bodies and answers up to here are bounded by the number of requests; only larger ones are counted."""


class Budget:
    """Bytes that all requests share."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes; raises a `QueueFullError` when they are not there."""
        if size <= SMALL_BYTES:
            return
        if self.used + size > self._limit:
            raise overloaded(f"{self._limit} bytes of requests and answers under way")
        self.used += size

    def give(self, size: int) -> None:
        """Return what was taken at once."""
        if size > SMALL_BYTES:
            self.used -= size


class Message:
    """What has arrived of a WebSocket's next message, which the library collects before anybody sees it. Large ones
    count with the bodies, and none may take for ever."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._clock = asyncio.get_running_loop().time
        self._size = self._taken = 0
        self._since: float | None = None
        self._awaited = False

    def grow(self, data: bytes) -> bool:
        """More has arrived; False when there is no room for it."""
        if self._since is None:
            if _is_pong(data):
                return True
            self._since = self._clock()
        self._size += len(data)
        self._budget.give(self._taken)
        self._taken = 0
        try:
            self._budget.take(self._size)
        except QueueFullError:
            return False
        self._taken = self._size
        return True

    def awaited(self) -> None:
        """The socket reads on. While it did not, its peer could not send."""
        self._awaited = True
        if self._since is not None:
            self._since = self._clock()

    def end(self) -> None:
        """It is whole: the socket has it. What has arrived of the next one is counted with its rest."""
        self._budget.give(self._taken)
        self._size = self._taken = 0
        self._since, self._awaited = None, False

    def is_late(self, before: float) -> bool:
        """Whether it began to arrive before that time."""
        return self._awaited and self._since is not None and self._since < before


def _is_pong(data: bytes) -> bool:
    """Whether this is the answer to a ping and nothing else, which belongs to no message."""
    return len(data) >= 6 and data[0] == 0x8A and len(data) == 6 + (data[1] & 0x7F)


BESIDE = ThreadPoolExecutor(1, "large-bodies")
"""One thread: each of several would take its turn at the interpreter before everybody's small calls have theirs."""


_rested_at = 0.0


async def apart(size: int, work: Callable[[], T]) -> T:
    """The work on that many bytes; on many of them in a thread, one after the other, so that other callers are served
    meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(BESIDE, _in_turn, work) if size > APART_BYTES else work()


def _in_turn(work: Callable[[], T]) -> T:
    """The work, after as long a rest as the work before it took: the interpreter is everybody else's for half the
    time, however much there is to take apart."""
    global _rested_at  # of the one thread there is
    began = time.monotonic()
    if began < _rested_at:
        time.sleep(_rested_at - began)
        began = time.monotonic()
    try:
        return work()
    finally:
        ended = time.monotonic()
        _rested_at = ended + (ended - began)


async def read_body(request: web.BaseRequest, limits: Limits, budget: Budget) -> bytes:
    """The whole body. It is the caller's to give its length back to the budget."""
    length = request.content_length
    content = request.content
    if length is not None:
        if length > limits.body_bytes:
            raise _too_large(limits)
        if length <= SMALL_BYTES and content.is_eof():
            return content.read_nowait()  # the usual case: it came with the headers
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # curl waits for it before a large body
    try:
        async with asyncio.timeout(limits.body_ms / 1_000):
            return await _collect(content, limits, budget)
    except TimeoutError:
        seconds = limits.body_ms / 1_000
        raise Refusal(408, f"the request's body did not arrive within {seconds:g} s", close=True) from None


async def _collect(content: StreamReader, limits: Limits, budget: Budget) -> bytes:
    pieces: list[bytes] = []
    size = taken = 0
    try:
        while piece := await content.readany():
            size += len(piece)
            if size > limits.body_bytes:
                raise _too_large(limits)
            budget.give(taken)
            taken = 0
            budget.take(size)
            taken = size
            pieces.append(piece)
    except BaseException:
        budget.give(taken)
        raise
    return b"".join(pieces)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the request's body is larger than {limits.body_bytes} bytes", close=True)

"""The threads in which blocking store calls run."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Bodies above this size are written in the lane of the other calls, so that a checkpoint never
# takes a thread from the commits.
BULK_BYTES = 1 << 20

# The root is swapped by one writer at a time, and a stuck swap shall be overtaken. That many are only ever used at once
# by the self-test, whose races need puts that really travel together; a thread begins when it is first needed.
_RACING_THREADS = 8


class StoreThreads:
    """Three lanes of threads, so that no kind of call waits behind another kind.

    `puts` creates objects, at least as many at once as the commit pipeline is deep. `swaps` replaces
    them: a renewal of the root must not wait behind commits, nor behind a recovery's reads.
    `others` does the rest. What waits for a thread is bounded by the callers.
    """

    def __init__(self, name: str, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"store threads: depth must be at least 1, not {depth}")
        self._puts = ThreadPoolExecutor(max(depth, _RACING_THREADS), f"osqueue-{name}-put")
        self._swaps = ThreadPoolExecutor(_RACING_THREADS, f"osqueue-{name}-swap")
        self._others = ThreadPoolExecutor(depth, f"osqueue-{name}")
        self.count = max(depth, _RACING_THREADS) + _RACING_THREADS + depth

    async def put(self, size: int, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that creates an object of `size` bytes."""
        lane = self._puts if size <= BULK_BYTES else self._others
        return await asyncio.get_running_loop().run_in_executor(lane, lambda: call(*args, **kwargs))

    async def swap(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that replaces an object."""
        return await asyncio.get_running_loop().run_in_executor(self._swaps, lambda: call(*args, **kwargs))

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run any other call."""
        return await asyncio.get_running_loop().run_in_executor(self._others, lambda: call(*args, **kwargs))

    async def close(self, *, drain: bool) -> None:
        """Drop what has not begun. With `drain`, return only after all that has begun has ended."""
        for lane in (self._puts, self._swaps, self._others):
            lane.shutdown(wait=False, cancel_futures=True)
            if drain:
                await asyncio.to_thread(lane.shutdown)

"""How this process gives memory back.

glibc raises the size from which a block is mapped by itself each time that such a block is freed. After a burst of
large messages nearly all blocks lie in one heap, and one small block at its end keeps hundreds of MiB.
"""

import ctypes
import os
import sys
import threading
import time  # noqa: TID251 - the machine, and not a queue, is waited for
from collections.abc import Callable

LARGE_BYTES = 512 * 1024
"""Blocks from this size on are mapped by themselves, and go back to the system as soon as they are freed. It is above
what the event loop reads at once, which would pay for a map and its end each time."""

KEPT_BYTES = 4 * 1024 * 1024
"""Free bytes at the end of the heap beyond which they go back."""

TRIM_PAUSE_S = 10.0
"""Between two looks at how much memory the process takes."""

GROWN = 1.1
"""Free pages in the middle of the heap are given back once the process takes this many times what it took after that
was last done. It takes about 10 ms, in which nobody else may allocate."""

LOOKS_MAX = 6
"""Looks after which it is done all the same: what others needed at the last time may be free by now. It is one as long
as it helps, and twice as many each time that it does not."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_settled = threading.Lock()


def settle_allocator() -> None:
    """Fix both sizes, and have a thread look after the rest, where the C library is glibc and its own variables do not
    say otherwise. Once in a process."""
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim") or not _settled.acquire(blocking=False):
        return
    library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    trimmer = Trimmer(resident_bytes, lambda: library.malloc_trim(0))
    threading.Thread(target=trimmer.run, name="memory-trimmer", daemon=True).start()


class Trimmer:
    """Has `trim` give free memory back when the process has grown; `taken` says how many bytes it takes."""

    def __init__(self, taken: Callable[[], int], trim: Callable[[], object]) -> None:
        self._taken = taken
        self._trim = trim
        self._after = taken()
        self._looks = 0
        self._pause = LOOKS_MAX

    def look(self) -> None:
        """Trim if it is worth it."""
        taken = self._taken()
        self._looks += 1
        if taken <= GROWN * self._after and self._looks < self._pause:
            return
        self._trim()
        self._after = self._taken()
        self._looks, self._pause = 0, 1 if taken > GROWN * self._after else min(2 * self._pause, LOOKS_MAX)

    def run(self) -> None:
        """Look again and again, as long as the process lives."""
        while True:
            time.sleep(TRIM_PAUSE_S)
            self.look()


def resident_bytes() -> int:
    """The memory that this process takes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

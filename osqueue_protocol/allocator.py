"""How this process gives memory back.

glibc raises the size from which a block is mapped by itself each time that such a block is freed. After a burst of
large messages nearly all blocks lie in one heap, and one small block at its end keeps hundreds of MiB.
"""

import ctypes
import os
import sys

LARGE_BYTES = 512 * 1024
"""Blocks from this size on are mapped by themselves, and go back to the system as soon as they are freed. It is above
what the event loop reads at once, which would pay for a map and its end each time."""

KEPT_BYTES = 4 * 1024 * 1024
"""Free bytes at the end of the heap beyond which they go back."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle_allocator() -> None:
    """Fix both sizes, where the C library is glibc and its own variables do not say otherwise."""
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)

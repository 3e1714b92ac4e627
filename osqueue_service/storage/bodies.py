"""An open file's content, read or written to its end."""

import os

from osqueue_service.storage.syncing import sync

# A large body is synced in slices: one sync of hundreds of megabytes would hold up the
# file system's journal, and with it every commit.
_SYNC_SLICE_BYTES = 4 << 20


def read_all(fd: int, size: int) -> bytes:
    """The content; `size` is how much is expected. What was cut off meanwhile is shorter."""
    body = os.read(fd, size)
    if len(body) == size:
        return body
    parts = [body]
    while part := os.read(fd, size):
        parts.append(part)
    return b"".join(parts)


def write_all(fd: int, body: bytes) -> None:
    """Write `body`; its last slice is still to be synced."""
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(fd, rest[:_SYNC_SLICE_BYTES]) :]
        if rest:
            sync(fd)

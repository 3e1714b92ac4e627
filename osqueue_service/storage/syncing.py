"""Bytes on the disk itself, as each platform asks for it.

Linux: `fsync` returns when the drive has written. macOS: `fsync` leaves the bytes in the drive's cache, and only
F_FULLFSYNC empties that; where a file system does not know it, the sync fails and the directory is refused.
"""

import fcntl
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)

PLATFORMS = ("linux", "darwin")
"""Where a returned sync is known to survive a power cut."""

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def sync(fd: int) -> None:
    """Return once the file or directory is on the disk; `OSError` says that nobody knows."""
    if _FULL_SYNC is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, _FULL_SYNC)


def warn_unless_proven(path: Path) -> None:
    """Say so where it is not known whether `sync` holds its promise."""
    if sys.platform not in PLATFORMS:
        log.warning(
            "data directory %s: whether a sync survives a power cut is not known on %s, only on %s: what is "
            "acknowledged may be lost in one", path, sys.platform, " and ".join(PLATFORMS),
        )  # fmt: skip

"""gRPC and fork: what a process inherits of the library, once that was used, does not work there, and hangs.

So it is refused there at once. A process forked before the first connection is like any other. The library's own
support for forks is turned off: it is not for asynchronous channels, and breaks the parent of processes that a handler
forks.
"""

import os

from osqueue.errors import TransportConfigError

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_used_by = 0
"""The process, this one or one that it was forked from, in which the first channel was made."""


def opening() -> None:
    """A channel is about to be made. `TransportConfigError` where it could not work."""
    global _used_by
    _used_by = _used_by or os.getpid()
    if _used_by != os.getpid():
        raise TransportConfigError(
            f"process {os.getpid()} was forked from {_used_by} after that had connected to a broker, and gRPC does not "
            "work in such a process. Connect only after the fork (with gunicorn --preload: in post_fork, or with the "
            "first request), start processes with the spawn method, or use the gateway: http://host:8080"
        )

"""A synchronous client for each process, for servers that fork their workers."""

import os
from collections.abc import Callable

from osqueue.sync import SyncClient


class PerProcess:
    """Makes a client where there is none in this process yet.

    Without a lock: one that is held while another thread forks would be held for ever in the child. Two threads may
    both make a client; both then use the same one, and the other never connected.
    """

    def __init__(self, make: Callable[[], SyncClient]) -> None:
        self._make = make
        self._clients: dict[int, SyncClient] = {}

    def get(self) -> SyncClient:
        """This process's client."""
        pid = os.getpid()
        client = self._clients.get(pid)
        return client if client is not None else self._clients.setdefault(pid, self._make())

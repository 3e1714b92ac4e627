"""A worker's guard: a small process that keeps the worker's leases when the worker cannot, and gives its jobs back when
it has died.

The worker's leases are renewed by a thread. A handler that holds the interpreter's lock stops that
thread, too; then the guard renews them, from the board that both share. It connects when it is
needed, and ends with its worker.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from osqueue.lease_board import LeaseBoard
from osqueue.suspects import Suspects

log = logging.getLogger("osqueue.worker")

START_AFTER_S = 1.0
"""How long a worker that runs until it is idle has no guard: if it is done sooner, that is not worth a start."""

SPARE_PLACES = 1_000
"""Places on the board beside two for each slot: for jobs whose outcome is on its way."""

_MAIN = (
    "import json, sys; told = json.loads(sys.stdin.readline()); sys.path[:] = told['path']; "
    "from osqueue.guard_process import main; main(told)"
)


class Guard:
    """The worker's side: the board, and the process beside it."""

    def __init__(
        self, worker_id: str, places: int, address: Callable[[], dict[str, Any] | None], after_s: float
    ) -> None:
        """`address`: how the guard reaches the broker; None for a transport of the user's own, which it cannot have.
        `after_s`: how long to wait before it starts."""
        self.board: LeaseBoard | None = None
        self.suspects: Suspects | None = None
        self._worker_id = worker_id
        self._address = address
        self._process: subprocess.Popen[str] | None = None
        self._due = time.monotonic() + after_s
        self._told = False
        if address() is None:
            log.info("worker %s has no guard: another process cannot use this transport", worker_id)
        elif os.name != "posix":
            self._warn("this system cannot hand memory to another process")
        else:
            try:
                self.board = LeaseBoard(places)
            except OSError as error:
                self._warn(error)
            self.suspects = Suspects.of(json.dumps(address()))

    def tick(self) -> None:
        """In the keeper's thread, four times a second."""
        if self.board is None:
            return
        self.board.stamp()
        if self.suspects is not None:
            self.suspects.look()
        if self._process is None:
            if time.monotonic() >= self._due:
                self._start(self.board)
        elif self._process.poll() is not None and not self._told:
            self._warn(f"its process has ended with status {self._process.returncode}")

    def close(self) -> None:
        """The worker ends in order; idempotent."""
        if self.board is None:
            return
        self.board.say_goodbye()
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it has nothing left to do
            process.wait()
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        self.board.close()
        self._due = float("inf")

    def _start(self, board: LeaseBoard) -> None:
        address = self._address()
        if address is None or not any(address["endpoints"]):
            return  # it is not known yet where the leader is
        told = {
            **address,
            "path": sys.path,
            "board": board.file,
            "worker_id": self._worker_id,
            "parent": os.getpid(),
            "notes": str(self.suspects.path) if self.suspects is not None else "",
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(board.file,),
                start_new_session=True,
                text=True,
            )
        except OSError as error:
            self._due = float("inf")
            self._warn(error)
            return
        self._process = process
        with contextlib.suppress(OSError):  # it has ended already: the next tick says so
            pipe: IO[str] | None = process.stdin
            assert pipe is not None
            pipe.write(json.dumps(told) + "\n")
            pipe.flush()

    def _warn(self, why: object) -> None:
        self._told = True
        log.warning(
            "worker %s has no guard (%s): a handler that holds the interpreter's lock for longer than a lease lasts "
            "costs all its jobs their leases, and the jobs of a worker that dies wait for theirs to expire",
            self._worker_id,
            why,
        )

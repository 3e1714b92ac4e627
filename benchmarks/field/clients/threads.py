"""Many concurrent calls of a client that blocks: a thread each."""

import json
import os
import threading
import time
from collections.abc import Callable

CALLERS = 256
PAYLOAD = {"to": "ada@example.org", "n": 1}


def report(jobs: int, began: float) -> None:
    print(json.dumps({"jobs": jobs, "seconds": time.perf_counter() - began}), flush=True)


def submit(seconds: float, enqueue: Callable[[], object]) -> None:
    """Call `enqueue` from all threads until the time is over."""
    began = time.perf_counter()
    ends = began + seconds
    counts = [0] * CALLERS

    def caller(number: int) -> None:
        while time.perf_counter() < ends:
            enqueue()
            counts[number] += 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(sum(counts), began)


class Countdown:
    """Counts handled jobs, and ends the process with a report at the last one."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._done = 0
        self._began = 0.0
        self._lock = threading.Lock()

    def handled(self) -> None:
        with self._lock:
            self._began = self._began or time.perf_counter()
            self._done += 1
            if self._done == self._jobs:
                report(self._jobs, self._began)
                os._exit(0)

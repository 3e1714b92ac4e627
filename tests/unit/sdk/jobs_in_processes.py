"""Handlers that tests run in processes of their own: those import them from here."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from osqueue import JobContext, Reject, Retry


class Odd(ValueError):
    pass


def double(payload: int) -> dict[str, int]:
    return {"value": 2 * payload, "pid": os.getpid()}


def with_context(payload: object, context: JobContext) -> list[object]:
    context.progress(0.5, "half")
    return [context.job_id, context.attempt]


def raise_odd(payload: object) -> None:
    raise Odd("odd indeed")


def raise_retry(payload: object) -> None:
    raise Retry("later", delay_ms=70)


def raise_reject(payload: object) -> None:
    raise Reject("never")


def exit_quietly(payload: object) -> None:
    raise SystemExit(3)


def kill_myself(payload: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def return_what_cannot_be_pickled(payload: object) -> object:
    return threading.Lock()


def wait_for_cancellation(payload: object, context: JobContext) -> str:
    context.progress(0.1, "waiting")
    assert context.stopped.wait(30)
    return "stopped in time" if context.cancel_requested else "lost"


def wait_forever(payload: object, context: JobContext) -> None:
    context.progress(0.1, "waiting")
    threading.Event().wait()


def square(number: int) -> int:
    return number * number


def with_children(payload: list[int]) -> int:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return sum(pool.map(square, payload))


def with_an_executor(payload: list[int]) -> int:
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(square, payload))


def terminate_my_pool(payload: object) -> str:
    pool = multiprocessing.get_context("fork").Pool(1)
    pool.terminate()
    pool.join()
    return "ended"


def terminate_what_was_just_forked(payload: int) -> list[int]:
    """How so many processes ended that were told to before they had begun: as `os.waitpid` says it."""
    ends = []
    for _ in range(payload):
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(7)
        os.kill(child, signal.SIGTERM)
        ends.append(os.waitpid(child, 0)[1])
    return ends


def signalled(payload: object) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "done"


def start_a_child(payload: object, context: JobContext) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    context.progress(0.1, f"{os.getpid()} {child.pid}")
    child.wait()


def hold_the_interpreter(payload: object, context: JobContext) -> None:
    """So that no other thread of the process can run."""
    context.progress(0.1, str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


class ExitsWhenRead:
    """Stands for a module that calls sys.exit() when it is imported."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return sys.exit, (3,)


def doubled(payload: int) -> int:
    return 2 * payload


class Doubling:
    """A task at the top of a module, made for whichever worker wants it."""

    @staticmethod
    def register(worker: Any) -> None:
        global doubled
        doubled = worker.task("doubled", runs_in="process")(doubled)

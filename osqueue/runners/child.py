"""What runs in a process of its own: one job at a time, told through a pipe.

To the child: ("run", function, takes_context, payload, job) and ("cancel", job id). From
it: ("progress", fraction, message), ("done", value, follow-ups) and ("failed", class names, type,
message, delay). Whoever kills it loses nothing but the attempt.

It leads a process group of its own, which ends with the worker: what a handler started does
not outlive it.
"""

import contextlib
import ctypes
import multiprocessing
import os
import queue
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from osqueue.context import JobContext
from osqueue.current import enter_job
from osqueue.failures import RateLimited, Reject, Retry, describe
from osqueue.job import Progress


def serve(connection: "Connection[Any, Any]") -> None:
    """Run jobs until the pipe is closed."""
    _settle_in()
    current: dict[str, JobContext] = {}
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, current), name="osqueue-pipe", daemon=True).start()
    while True:
        function, takes_context, payload, job = inbox.get()
        context = JobContext(job, lambda progress: _report(connection, progress))
        current[job.job_id] = context
        enter_job(context)
        try:
            value = function(payload, context) if takes_context else function(payload)
            # A job type says how to read a result, and may not be one that can travel.
            answer = ("done", value, [replace(spec, job_type=None) for spec in context.follow_ups])
        except BaseException as error:  # noqa: BLE001 - it becomes the attempt's failure
            answer = _failure(error)
        current.pop(job.job_id, None)
        _send(connection, answer)


_PR_SET_PDEATHSIG = 1


def _settle_in() -> None:
    """Belong to the worker: stop when it says so or dies, and not when somebody signals all of its processes."""
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):  # a session's leader stays in its group
            os.setpgid(0, 0)
    # Functions, not SIG_IGN, which programs that a handler starts would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_worker)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_heed_signals_again)
    if sys.platform == "linux":
        _die_soon_after_the_worker()
    # A handler may use processes of its own. This one is a daemon only so that the worker's exit does not wait for it.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def _die_soon_after_the_worker() -> None:
    """For a handler that holds the interpreter's lock, so that `_listen` cannot act. Not at once: `_listen` ends what
    the handler started, too, and would come too late.

    The handler of SIGHUP, which is number 1, is C's alarm(): no Python need run for alarm(1), which ends the process
    a second later.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGHUP, ctypes.cast(libc.alarm, ctypes.c_void_p))
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)


def _leave_it_to_the_worker(number: int, frame: object) -> None:
    """Whether this process stops is the worker's decision."""


_HELD = (signal.SIGINT, signal.SIGTERM)
_mask = threading.local()


def _hold() -> None:
    """A signal to a process that does not heed signals yet would be lost: it waits until it does."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _heed_signals_again() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _let_go()


def _listen(
    connection: "Connection[Any, Any]",
    inbox: "queue.SimpleQueue[tuple[Any, ...]]",
    current: dict[str, JobContext],
) -> None:
    while True:
        try:
            kind, *rest = connection.recv()
        except (EOFError, OSError):  # the worker is gone, and nobody wants what this process and its children do
            if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
            os._exit(1)
        except BaseException as error:  # noqa: BLE001 - the function or payload cannot be unpickled here: told, not hidden
            _send(connection, _failure(error))
            continue
        if kind == "run":
            inbox.put(tuple(rest))
        elif kind == "cancel" and (context := current.get(rest[0])) is not None:
            context.stop(lost=False)


def _report(connection: "Connection[Any, Any]", progress: Progress) -> None:
    _send(connection, ("progress", progress.fraction, progress.message))


_sending = threading.Lock()


def _send(connection: "Connection[Any, Any]", message: tuple[Any, ...]) -> None:
    with _sending:
        try:
            connection.send(message)
        except (BrokenPipeError, ConnectionError):  # the worker is gone, and with it whoever cared
            return
        except Exception as error:  # noqa: BLE001 - a result that cannot be pickled fails the attempt
            connection.send(_failure(error))


def _failure(error: BaseException) -> tuple[Any, ...]:
    delay_ms = error.delay_ms if isinstance(error, Retry) else None
    if isinstance(error, RateLimited):
        delay_ms = error.retry_after_ms
    classes = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    kind, message = describe(error)
    if isinstance(error, RateLimited):
        kind = error.limit
    return "failed", classes, kind, message, delay_ms, isinstance(error, Reject)

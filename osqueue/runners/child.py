"""What runs in a process of its own: one job at a time, told through a pipe.

To the child: ("run", function, takes_context, payload, job) and ("cancel", job id). From
it: ("progress", fraction, message), ("done", value) and ("failed", class names, type,
message, delay). Whoever kills it loses nothing but the attempt.
"""

import queue
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from osqueue.context import JobContext
from osqueue.failures import Reject, Retry
from osqueue.job import Progress


def serve(connection: "Connection[Any, Any]") -> None:
    """Run jobs until the pipe is closed."""
    # Ctrl-C in a terminal reaches the whole process group; whether this child stops is the worker's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    current: dict[str, JobContext] = {}
    inbox: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, current), name="osqueue-pipe", daemon=True).start()
    while (message := inbox.get()) is not None:
        function, takes_context, payload, job = message
        context = JobContext(job, lambda progress: _report(connection, progress))
        current[job.job_id] = context
        try:
            answer = ("done", function(payload, context) if takes_context else function(payload))
        except BaseException as error:  # noqa: BLE001 - it becomes the attempt's failure
            answer = _failure(error)
        current.pop(job.job_id, None)
        _send(connection, answer)


def _listen(
    connection: "Connection[Any, Any]",
    inbox: "queue.SimpleQueue[tuple[Any, ...] | None]",
    current: dict[str, JobContext],
) -> None:
    while True:
        try:
            kind, *rest = connection.recv()
        except (EOFError, OSError):  # the worker is gone
            inbox.put(None)
            return
        except Exception as error:  # noqa: BLE001 - the function or payload cannot be unpickled here: told, not hidden
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
    classes = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    frames = traceback.extract_tb(error.__traceback__)
    place = f"\n  at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return "failed", classes, type(error).__name__, f"{error}{place}", delay_ms, isinstance(error, Reject)

"""Handlers that tests run in processes of their own: those import them from here."""

import os
import signal
import threading

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

"""Running tasks: the handler that a worker has for every queue of a backend."""

import logging
import traceback
from typing import Any

from django.db import close_old_connections

from osqueue.context import JobContext
from osqueue.contrib.django.backend import OsqueueBackend
from osqueue.contrib.django.results import TYPE_PREFIX, call_of, moment, task_at
from osqueue.contrib.django.tasks_api import TaskContext, TaskResult, TaskResultStatus, task_finished, task_started
from osqueue.failures import ERROR_MESSAGE_BYTES, Failed, Reject
from osqueue.handlers import Handler
from osqueue.job import JobError
from osqueue.worker import Worker

log = logging.getLogger("osqueue.django")


class TaskRunner:
    """Runs calls of tasks in a thread: coroutine functions in a loop of that call's own, as Django does in requests."""

    def __init__(self, backend: OsqueueBackend) -> None:
        self._backend = backend

    def add_to(self, worker: Worker, queues: list[str]) -> None:
        """Have the worker take these queues."""
        for queue in queues:
            worker.add(TYPE_PREFIX + queue, Handler(self.run, runs_in="thread"))

    def run(self, payload: Any, context: JobContext) -> Any:
        """One attempt at one call. The database's connections are looked after as in a request."""
        try:
            call = call_of(payload)
            task = task_at(call.path)
        except (ImportError, ValueError) as error:
            raise Reject(f"{error}: this worker's code has no such task") from error
        job = context.job
        result: TaskResult[Any] = TaskResult(
            task=task, id=job.job_id, status=TaskResultStatus.RUNNING, enqueued_at=moment(job.created_at),
            started_at=None, finished_at=None, last_attempted_at=None, args=call.args, kwargs=call.kwargs,
            backend=self._backend.alias, errors=[], worker_ids=[job.worker_id] * job.attempt,
        )  # fmt: skip
        task_started.send(type(self._backend), task_result=result)
        close_old_connections()
        try:
            first = (TaskContext(task_result=result),) if task.takes_context else ()
            value = task.call(*first, *result.args, **result.kwargs)
            object.__setattr__(result, "status", TaskResultStatus.SUCCESSFUL)
            object.__setattr__(result, "_return_value", value)
            return value
        except (Reject, KeyboardInterrupt):
            raise
        except BaseException as error:
            object.__setattr__(result, "status", TaskResultStatus.FAILED)
            raise Failed(_described(error)) from error
        finally:
            close_old_connections()
            task_finished.send(type(self._backend), task_result=result)


def _described(error: BaseException) -> JobError:
    """The exception as Django's `TaskError` shows it: its class's path, and the end of its traceback."""
    text = "".join(traceback.format_exception(error))
    kind = type(error)
    last = text.encode("utf-8", "replace")[-ERROR_MESSAGE_BYTES:].decode("utf-8", "ignore")
    return JobError(f"{kind.__module__}.{kind.__qualname__}", last)

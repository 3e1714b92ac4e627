"""A job of the queue as Django's Tasks see it: a `TaskResult`, and the payload that a task's call travels as."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from osqueue.contrib.django.tasks_api import Task, TaskError, TaskResult, TaskResultStatus
from osqueue.errors import OsqueueError
from osqueue.job import Attempt, Job, JobError

TYPE_PREFIX = "django."
"""Jobs of a Django queue have the type `django.{queue}`, so that a worker takes whole queues."""

_STATUSES = {
    "completed": TaskResultStatus.SUCCESSFUL,
    "dead": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
    "in_progress": TaskResultStatus.RUNNING,
}

_NOT_RAISED = {"TimedOut": "builtins.TimeoutError", "TIMED_OUT": "builtins.TimeoutError"}
"""Ends of attempts that no exception of the task's caused, by the type of their error."""


class TaskCall(NamedTuple):
    """One call of one task function: what the job's payload holds."""

    path: str
    args: list[Any]
    kwargs: dict[str, Any]

    def payload(self) -> dict[str, Any]:
        """The call as JSON can hold it."""
        return {"task": self.path, "args": self.args, "kwargs": self.kwargs}


def call_of(payload: Any) -> TaskCall:
    """The call that a payload holds. `ValueError` when it is not one of this backend's."""
    try:
        return TaskCall(payload["task"], payload["args"], payload["kwargs"])
    except (KeyError, TypeError):
        raise ValueError("the payload is not a call of a Django task: it has no task, args and kwargs") from None


def task_at(path: str) -> "Task[Any, Any]":
    """The task that a module defines. `ImportError` when there is none, as after a rename."""
    found = import_string(path)
    if not isinstance(found, Task):
        raise ImportError(f"{path} is not a task: decorate it with @task")
    return found


def result_of(job: Job, task: "Task[Any, Any]", call: TaskCall, alias: str) -> "TaskResult[Any]":
    """The job as a result of this task."""
    attempts = job.history
    begun = [attempt.started_at for attempt in attempts]
    workers = [attempt.worker_id for attempt in attempts]
    if job.status == "in_progress":
        begun.append(job.claimed_at)
        workers.append(job.worker_id)
    result: TaskResult[Any] = TaskResult(
        task=task,
        id=job.id,
        status=_STATUSES.get(job.status, TaskResultStatus.READY),
        enqueued_at=moment(job.created_at),
        started_at=moment(begun[0]) if begun else None,
        finished_at=moment(job.finished_at),
        last_attempted_at=moment(begun[-1]) if begun else None,
        args=call.args,
        kwargs=call.kwargs,
        backend=alias,
        errors=_errors(attempts),
        worker_ids=workers,
    )
    if job.status == "completed":
        object.__setattr__(result, "_return_value", job.result_value())
    return result


def moment(at_ms: int) -> datetime | None:
    """A time of the queue's, aware; None for 0."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC) if at_ms else None


def _errors(attempts: list[Attempt]) -> list[TaskError]:
    return [_error(attempt.error) for attempt in attempts if attempt.error is not None]


def _error(error: JobError) -> TaskError:
    path = error.type if "." in error.type else _NOT_RAISED.get(error.type, _path(OsqueueError))
    return TaskError(exception_class_path=path, traceback=error.message)


def _path(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

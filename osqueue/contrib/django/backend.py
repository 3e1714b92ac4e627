"""The backend: tasks are submitted as jobs, and read back as results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from osqueue.contrib.django.results import TYPE_PREFIX, TaskCall, call_of, result_of, task_at
from osqueue.contrib.django.tasks_api import (
    BaseTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from osqueue.contrib.per_process import PerProcess
from osqueue.errors import JobNotFoundError
from osqueue.job import SubmitOptions
from osqueue.sync import SyncClient


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What `OPTIONS` of the backend may say; all of it may be left out.

    `broker_url` and `token` are those of `SyncClient`, by default BROKER_URL and OSQUEUE_TOKEN. `max_attempts`,
    `timeout_ms` and `retention_ms` are those of every job; left out, the broker's defaults.
    """

    broker_url: str | None = None
    token: str | None = None
    max_attempts: int | None = None
    timeout_ms: int | None = None
    retention_ms: int | None = None

    def of_job(self, task: "Task[Any, Any]") -> SubmitOptions:
        """How a call of this task is submitted."""
        options: SubmitOptions = {"priority": task.priority, "metadata": {"task": task.name}}
        if task.run_after is not None:
            options["run_at"] = task.run_after
        if self.max_attempts is not None:
            options["max_attempts"] = self.max_attempts
        if self.timeout_ms is not None:
            options["timeout_ms"] = self.timeout_ms
        if self.retention_ms is not None:
            options["retention_ms"] = self.retention_ms
        return options


class OsqueueBackend(BaseTaskBackend):
    """Tasks as durable jobs: priorities, `run_after`, coroutine functions and results included.

    `enqueue` returns once the job is durable. A task that raises is tried again as `max_attempts` says; its result is
    READY between attempts and FAILED after the last. Enqueue what depends on a database transaction in
    `transaction.on_commit`, as with any queue.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings = _options(alias, self.options)
        settings = self.settings
        self._clients = PerProcess(lambda: SyncClient(settings.broker_url, token=settings.token))

    @property
    def client(self) -> SyncClient:
        """This process's client. A server that forks its workers has one in each."""
        return self._clients.get()

    def enqueue(self, task: "Task[Any, Any]", args: Sequence[Any], kwargs: Mapping[str, Any]) -> "TaskResult[Any]":
        """Submit one call of the task."""
        self.validate_task(task)
        result: TaskResult[Any] = TaskResult(
            task=task, id="", status=TaskResultStatus.READY, enqueued_at=None, started_at=None, finished_at=None,
            last_attempted_at=None, args=list(args), kwargs=dict(kwargs), backend=self.alias, errors=[], worker_ids=[],
        )  # fmt: skip
        job = self.client.submit_job(
            TYPE_PREFIX + task.queue_name,
            TaskCall(task.module_path, result.args, result.kwargs).payload(),
            **self.settings.of_job(task),
        )
        accepted = self.get_result(job.id)
        task_enqueued.send(type(self), task_result=accepted)
        return accepted

    def get_result(self, result_id: str) -> "TaskResult[Any]":
        """What became of a call so far. `TaskResultDoesNotExist` when there is none, or it is no longer kept."""
        try:
            job = self.client.get_job(result_id)
        except JobNotFoundError as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error.message}") from None
        if not job.type.startswith(TYPE_PREFIX):
            raise TaskResultDoesNotExist(f"{result_id} is a job of type {job.type!r}, not a Django task's")
        call = call_of(job.value())
        task = task_at(call.path).using(priority=job.priority, queue_name=job.type.removeprefix(TYPE_PREFIX))
        return result_of(job, task, call, self.alias)


def _options(alias: str, said: Mapping[str, Any]) -> BackendOptions:
    known = BackendOptions.__dataclass_fields__
    unknown = sorted(set(said) - set(known))
    if unknown:
        raise ImproperlyConfigured(
            f"TASKS[{alias!r}]['OPTIONS']: {', '.join(unknown)} is not an option; there are: {', '.join(sorted(known))}"
        )
    return BackendOptions(**said)

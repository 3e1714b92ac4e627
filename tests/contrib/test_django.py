"""Django's Tasks, as its documentation promises them, on a broker."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

django = pytest.importorskip("django", reason="Django is not installed: pip install 'osqueue[django]'")

from django.conf import settings  # noqa: E402

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["osqueue.contrib.django"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
        TASKS={},
    )
    django.setup()

from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.test import override_settings  # noqa: E402

from osqueue import SyncClient  # noqa: E402
from osqueue.contrib.django.tasks_api import TaskResultDoesNotExist, TaskResultStatus, task_backends  # noqa: E402
from osqueue_service.testing.in_process import BrokerThread  # noqa: E402


def tasks_setting(address: str, **options: Any) -> dict[str, Any]:
    return {
        "default": {
            "BACKEND": "osqueue.contrib.django.OsqueueBackend",
            "QUEUES": ["default", "mail"],
            "OPTIONS": {"broker_url": f"grpc://{address}", "max_attempts": 1, **options},
        }
    }


@pytest.fixture(autouse=True)
def site(broker: BrokerThread) -> Iterator[None]:
    with override_settings(TASKS=tasks_setting(broker.address)):
        yield
        task_backends["default"].client.close()


@pytest.fixture
def tasks() -> Any:
    from tests.contrib.site import tasks

    return tasks


def work(**options: Any) -> None:
    call_command("osqueue_worker", until_idle=True, **options)


def test_a_task_runs_and_its_result_is_read(tasks: Any) -> None:
    result = tasks.add.enqueue(2, right=3)
    assert (result.status, result.is_finished, result.enqueued_at is not None) == (TaskResultStatus.READY, False, True)
    assert (result.args, result.kwargs) == ([2], {"right": 3})
    work()
    result.refresh()
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 5)
    assert result.started_at is not None and result.finished_at is not None and result.attempts == 1
    assert tasks.add.get_result(result.id).return_value == 5


async def test_a_task_is_enqueued_from_coroutines(tasks: Any) -> None:
    result = await tasks.add.aenqueue(1, 1)
    assert (await tasks.add.aget_result(result.id)).status == TaskResultStatus.READY


def test_coroutine_functions_priorities_and_queues(tasks: Any) -> None:
    result = tasks.greet.enqueue("ada")
    assert (result.task.priority, result.task.queue_name) == (7, "mail")
    work(queue=["mail"])
    result.refresh()
    assert result.return_value == "hello ada"


def test_a_worker_takes_its_queues_only(tasks: Any) -> None:
    result = tasks.greet.enqueue("ada")
    work(queue=["default"])
    result.refresh()
    assert result.status == TaskResultStatus.READY


def test_run_after_delays_a_task(tasks: Any) -> None:
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    result = tasks.add.using(run_after=tomorrow).enqueue(1, 1)
    work()
    result.refresh()
    assert result.status == TaskResultStatus.READY


def test_a_task_that_raises_has_failed_with_its_exception(tasks: Any) -> None:
    result = tasks.refuse.enqueue("not you")
    work()
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    assert error.exception_class is PermissionError
    assert "not you" in error.traceback and "in refuse" in error.traceback


def test_a_task_may_ask_which_attempt_it_is(tasks: Any) -> None:
    result = tasks.attempt.enqueue()
    work()
    result.refresh()
    assert result.return_value == 1


def test_a_result_that_does_not_exist(tasks: Any, broker: BrokerThread) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("nosuchjob")
    with SyncClient(f"grpc://{broker.address}") as client:
        other = client.submit_job("email", {})
    with pytest.raises(TaskResultDoesNotExist, match="not a Django task's"):
        tasks.add.get_result(other.id)


def test_a_task_that_was_renamed_becomes_a_dead_letter(broker: BrokerThread) -> None:
    with SyncClient(f"grpc://{broker.address}") as client:
        payload = {"task": "tests.contrib.site.tasks.gone", "args": [], "kwargs": {}}
        job = client.submit_job("django.default", payload, max_attempts=5)
        work()
        found = client.get_job(job.id)
    assert found.status == "dead" and found.error is not None
    assert "tests.contrib.site.tasks" in found.error.message


def test_a_wrong_option_is_named(broker: BrokerThread) -> None:
    with (
        override_settings(TASKS=tasks_setting(broker.address, retries=3)),
        pytest.raises(ImproperlyConfigured, match="retries is not an option; there are: broker_url"),
    ):
        _ = task_backends["default"].client
    with pytest.raises(CommandError, match="--queue: post"):
        work(queue=["post"])

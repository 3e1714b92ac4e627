"""Tasks of the site."""

from osqueue.contrib.django.tasks_api import TaskContext
from tests.contrib.site.tasks_framework import task


@task
def add(left: int, right: int) -> int:
    return left + right


@task(queue_name="mail", priority=7)
async def greet(name: str) -> str:
    return f"hello {name}"


@task
def refuse(reason: str) -> None:
    raise PermissionError(reason)


@task(takes_context=True)
def attempt(context: TaskContext) -> int:
    return context.attempt

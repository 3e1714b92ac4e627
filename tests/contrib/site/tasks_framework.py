"""The decorator, from Django or from `django-tasks`."""

try:
    from django.tasks import task
except ModuleNotFoundError:
    from django_tasks import task

__all__ = ["task"]

"""A backend for Django's Tasks: `@task` functions that are durable jobs.

    INSTALLED_APPS = [..., "osqueue.contrib.django"]
    TASKS = {"default": {"BACKEND": "osqueue.contrib.django.OsqueueBackend", "OPTIONS": {"broker_url": "grpc://…"}}}

`manage.py osqueue_worker` runs them. It works with the Tasks that Django has from 6.0 on, and with the package
`django-tasks` before.
"""

from osqueue.contrib.django.backend import OsqueueBackend

__all__ = ["OsqueueBackend"]

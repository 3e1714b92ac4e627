"""`manage.py osqueue_worker`: runs the tasks of one backend's queues until SIGTERM or SIGINT."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from osqueue.client import OsqueueClient
from osqueue.contrib.django.backend import OsqueueBackend
from osqueue.contrib.django.running import TaskRunner
from osqueue.contrib.django.tasks_api import task_backends
from osqueue.worker import Worker


class Command(BaseCommand):
    """The command."""

    help = "Runs Django tasks from osqueue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What may be asked for."""
        parser.add_argument("--backend", default="default", help="alias in TASKS (default: default)")
        parser.add_argument("--queue", action="append", default=[], help="a queue to take; repeat it for several")
        parser.add_argument("--concurrency", type=int, default=10, help="tasks at a time, in threads (default: 10)")
        parser.add_argument("--until-idle", action="store_true", help="end when no task is ready")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run."""
        backend = task_backends[options["backend"]]
        if not isinstance(backend, OsqueueBackend):
            raise CommandError(f"TASKS[{options['backend']!r}] has another backend: name one with --backend")
        queues = options["queue"] or sorted(backend.queues)
        unknown = sorted(set(queues) - backend.queues) if backend.queues else []
        if unknown or not queues:
            raise CommandError(f"--queue: {', '.join(unknown) or 'name one'}; the backend's QUEUES are "
                               f"{', '.join(sorted(backend.queues)) or 'any'}")  # fmt: skip
        client = OsqueueClient(backend.settings.broker_url, token=backend.settings.token)
        worker = Worker(client, concurrency=options["concurrency"])
        TaskRunner(backend).add_to(worker, queues)
        worker.run_sync(until_idle=options["until_idle"])

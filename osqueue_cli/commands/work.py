"""`osqueue work`: run the worker of a module."""

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import DURATION

if TYPE_CHECKING:
    from osqueue import Worker


@click.command(no_args_is_help=True)
@click.argument("target", metavar="MODULE:NAME")
@click.option("-b", "--broker", metavar="URL", help="Broker of a client that names none itself.  [env: BROKER_URL]")
@click.option("--token", help="Token of a client that names none itself; better in the variable.  [env: OSQUEUE_TOKEN]")
@click.option("-q", "--queue", default="", metavar="NAME", help="Name of a queue, instead of the worker's own.")
@click.option("-c", "--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once, instead of the worker's own.")
@click.option("--drain", type=DURATION, help="How long to wait for running jobs when stopped.  [default: 20s]")
@click.option("--until-idle", is_flag=True, help="End when no job is ready and none runs.")
@click.option("--metrics-port", type=click.IntRange(1, 65_535), help="Serve /metrics for Prometheus on this port.")
@json_option
def work(
    target: str, broker: str | None, token: str | None, queue: str, concurrency: int | None,
    drain: int | None, until_idle: bool, metrics_port: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Run a worker until Ctrl-C or SIGTERM.

    NAME is a Worker in the module, or a mapping from job types to handlers. In a
    terminal it shows what the worker is doing; elsewhere it writes JSON lines.

    \b
    Examples:
      osqueue work app:worker
      osqueue work app.jobs:handlers --concurrency 50
      osqueue work app:worker --until-idle        run what there is, then end

    \b
    app.py:
      async def email(payload):
          print("sending to", payload["to"])

      handlers = {"email": email}

    The first Ctrl-C lets running jobs finish, the second gives them back at once.
    """
    for name, value in (("BROKER_URL", broker), ("OSQUEUE_TOKEN", token)):
        if value:
            os.environ[name] = value
    worker = load(target, queue)
    if concurrency is not None:
        worker.concurrency = concurrency
    if drain is not None:
        worker.drain_timeout_ms = drain
    from osqueue_cli import worker_view

    show = worker_view.JsonLines if as_json or not sys.stdout.isatty() else worker_view.Screen
    with nullcontext() if metrics_port is None else metrics_of(worker, metrics_port):
        asyncio.run(worker_view.run(worker, show(worker), until_idle=until_idle))


def load(target: str, queue: str = "") -> "Worker":
    """The worker that the target names, made from handlers where it names those. `queue` is another than its own."""
    from osqueue import OsqueueClient, Worker

    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise click.UsageError(f"{target!r} names nothing to run; write MODULE:NAME, such as app:worker")
    found = _import(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise click.UsageError(f"{module_name} has no {name!r}{_hint(found)}")
        found = getattr(found, part)
    if isinstance(found, Worker):
        found.client = found.client.queue(queue)
        return found
    if isinstance(found, dict):
        return Worker(OsqueueClient(queue=queue), found)
    raise click.UsageError(f"{target} is a {type(found).__name__}; it must be a Worker or a mapping of handlers")


@contextmanager
def metrics_of(worker: "Worker", port: int) -> Iterator[None]:
    """Serve the worker's figures meanwhile, to whoever can reach the port: counts are not protected."""
    try:
        from prometheus_client import CollectorRegistry, start_http_server

        from osqueue.contrib.prometheus import WorkerMetrics
    except ImportError as error:
        raise Failure(
            "--metrics-port needs prometheus_client: pip install 'osqueue[prometheus]'", Exit.USAGE
        ) from error
    registry = CollectorRegistry()
    WorkerMetrics(worker, registry)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise Failure(
            f"--metrics-port: cannot listen on {port}: {error.strerror}; choose another", Exit.USAGE
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _import(module_name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise Failure(f"{module_name} cannot be imported: {error}", Exit.USAGE) from error
        raise click.UsageError(f"there is no module {module_name!r} here ({os.getcwd()})") from error


def _hint(module: Any) -> str:
    from osqueue import Worker

    names = [name for name, value in vars(module).items() if isinstance(value, Worker)] if module else []
    return f"; its workers are called {', '.join(names)}" if names else ""

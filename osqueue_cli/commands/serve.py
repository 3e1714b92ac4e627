"""`osqueue serve`: a whole queue in one process, for one machine."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from osqueue_cli.settings import settings_options
from osqueue_cli.supervisor import Supervisor
from osqueue_server.service import Service
from osqueue_service.app import App
from osqueue_service.config import Settings
from osqueue_service.log_output import write_logs

DEFAULT_URL = "grpc://localhost:8081"
TELL_EVERY_S = 1.0


@click.command()
@click.option("--cors-origins", metavar="VALUE", help="Origins that may call, comma-separated.  [env: CORS_ORIGINS]")
@click.option("--hosts", metavar="VALUE", help="Its names for callers without a token.  [env: OSQUEUE_HOSTS]")
@settings_options(storage_default="file", log_default="warning")
def serve(cors_origins: str | None, hosts: str | None, overrides: Mapping[str, str]) -> None:
    """Run a queue on this machine: broker and gateway.

    Both run in one process. The queue is kept in ./osqueue-data unless told otherwise. Without a token, only
    callers on this machine are served. Give it in the environment: every user of a machine can read command lines.

    \b
    Examples:
      osqueue serve
      OSQUEUE_TOKEN=... osqueue serve --data-dir /var/lib/osqueue
      osqueue serve --storage-backend s3 --s3-bucket jobs
      osqueue serve --storage-backend memory --grpc-port 9081 --http-port 9080
    """
    settings = Settings.read(os.environ, overrides)
    write_logs(settings.log_level, settings.log_format)
    asyncio.run(_run(settings, _listed("CORS_ORIGINS", cors_origins), _listed("OSQUEUE_HOSTS", hosts)))


def _listed(name: str, flag: str | None) -> list[str]:
    """The parts of a list in a flag or, without one, in the environment."""
    listed = os.environ.get(name, "") if flag is None else flag
    return [part.strip() for part in listed.split(",") if part.strip()]


async def _run(settings: Settings, origins: Sequence[str], hosts: Sequence[str]) -> None:
    service = Service(settings, origins=origins, hosts=hosts)
    over = _end_on_signals()
    app = await service.open()
    telling = asyncio.ensure_future(_tell(app))
    try:
        await _first(_lead(app), over.wait())
        telling.cancel()
        if not over.is_set():
            _welcome(app)
            async with Supervisor().told():
                await _first(app.broker.failed, over.wait())
    finally:
        telling.cancel()
        await service.stop()
    if app.broker.failed.done():
        raise app.broker.failed.result()


async def _lead(app: App) -> None:
    await app.start()
    await app.broker.leading()


async def _tell(app: App) -> None:
    """Say what is waited for, whenever that changes: a start that takes long looks like one that hangs."""
    told = ""
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        if app.doing != told:
            told = app.doing
            click.echo(f"  {told}", err=True)


def _end_on_signals() -> asyncio.Event:
    """Set at SIGINT or SIGTERM; the second one ends the process at once."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        over.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError):
                loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return over


async def _first(*work: Any) -> None:
    """Wait until one of them is done; raise its error, if that is how it ended."""
    tasks = [asyncio.ensure_future(each) for each in work]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        if isinstance(task, asyncio.Task):
            task.cancel()
    for task in done:
        await task


def _welcome(app: App) -> None:
    """Where things are, and what to try next."""
    settings = app.settings
    http = f"http://localhost:{settings.http_port}"
    grpc = f"{'grpcs' if settings.tls_cert_file else 'grpc'}://localhost:{app.server.port}"
    engine = app.broker.engine
    bearer = f"Authorization: Bearer {'$OSQUEUE_TOKEN'}" if settings.token else ""
    curl = f"curl -H '{bearer}'".replace("'", '"') if bearer else "curl"
    grpcurl = f'grpcurl -H "{bearer}"' if bearer else "grpcurl"
    grpcurl += "" if settings.tls_cert_file else " -plaintext"
    click.echo(
        f"""
  {click.style("osqueue is running.", bold=True)}  Ctrl-C stops it; nothing acknowledged is ever lost.

  queue    {app.storage.store.description}  ({engine.views.totals.live:,} live jobs, epoch {app.broker.epoch})
  gRPC     {grpc}{_told(app)}
  HTTP     {http}  (REST; {http}/docs explains it; WebSocket at /v1/ws)
  access   {_access(settings)}

  Try next, in another terminal:

    {curl} {http}/v1/jobs -H 'content-type: application/json' -d '{{"type": "hello", "payload": {{"name": "you"}}}}'
    {grpcurl} localhost:{app.server.port} osqueue.v1.QueueService/GetStats
    osqueue stats{"" if grpc == DEFAULT_URL else f" --broker {grpc}"}

    python - <<'END'
    import asyncio, osqueue
    async def main():
        async with osqueue.OsqueueClient("{grpc}") as client:
            print((await client.submit_job("hello", {{"name": "you"}})).id)
    asyncio.run(main())
    END
"""
    )


def _told(app: App) -> str:
    """Where the others are told that this broker is, when that is not what the host says."""
    if not app.settings.guessed_addresses(shared=app.shared):
        return ""
    addresses = app.broker.addresses
    return f"  (others are told {addresses.grpc}, and {addresses.broker} for HTTP)"


def _access(settings: Settings) -> str:
    if settings.token:
        return "callers need OSQUEUE_TOKEN"
    if settings.allow_remote:
        return click.style("everyone who can reach the ports (OSQUEUE_ALLOW_REMOTE)", fg="yellow")
    return "this machine only; set OSQUEUE_TOKEN to admit others"

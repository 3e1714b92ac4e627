"""`osqueue serve`: a whole queue in one process, for one machine."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import click

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.settings import settings_options
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_service.app import App, build
from osqueue_service.config import Settings
from osqueue_service.log_output import write_logs


@click.command()
@click.option("--cors-origins", metavar="VALUE", help="Web pages that may call, by commas.  [env: CORS_ORIGINS]")
@settings_options(storage_default="file", log_default="warning")
def serve(cors_origins: str | None, overrides: Mapping[str, str]) -> None:
    """Run a queue on this machine: broker and gateway.

    Both run in one process. The queue is kept in ./osqueue-data unless told otherwise. Without a token, only
    callers on this machine are served.

    \b
    Examples:
      osqueue serve
      osqueue serve --data-dir /var/lib/osqueue --token "$(openssl rand -hex 16)"
      osqueue serve --storage-backend s3 --s3-bucket jobs
      osqueue serve --storage-backend memory --grpc-port 9081 --http-port 9080
    """
    settings = Settings.read(os.environ, overrides)
    write_logs(settings.log_level, settings.log_format)
    if settings.tls_cert_file:
        raise Failure("serve speaks no TLS: run `osqueue broker` and `osqueue gateway` instead", Exit.CONFIG)
    asyncio.run(_run(settings, os.environ.get("CORS_ORIGINS", "") if cors_origins is None else cors_origins))


async def _run(settings: Settings, cors_origins: str) -> None:
    app = await build(settings)
    gateway = Gateway(_gateway_config(settings, app.server.port, cors_origins))
    gateway.metrics.beside(app.metrics.render)
    over = _end_on_signals()
    try:
        await app.start()
        await gateway.start()
        await _first(app.broker.leading(), over.wait())
        if not over.is_set():
            _welcome(app, gateway)
            await _first(app.broker.failed, over.wait())
    finally:
        await gateway.stop()
        await app.stop()
    if app.broker.failed.done():
        raise app.broker.failed.result()


def _gateway_config(settings: Settings, grpc_port: int, cors_origins: str) -> GatewayConfig:
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"
    return GatewayConfig(
        host=settings.host,
        port=settings.http_port,
        brokers=(f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}",),
        advertised=settings.http_address,
        token=settings.token,
        allow_remote=settings.allow_remote,
        origins=tuple(origin.strip() for origin in cors_origins.split(",") if origin.strip()),
    )


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


def _welcome(app: App, gateway: Gateway) -> None:
    """Where things are, and what to try next."""
    settings = app.settings
    http = f"http://localhost:{gateway.port}"
    engine = app.broker.engine
    bearer = f"Authorization: Bearer {'$OSQUEUE_TOKEN'}" if settings.token else ""
    curl = f"curl -H '{bearer}'".replace("'", '"') if bearer else "curl"
    grpcurl = f'grpcurl -H "{bearer}"' if bearer else "grpcurl"
    click.echo(
        f"""
  {click.style("osqueue is running.", bold=True)}  Ctrl-C stops it; nothing acknowledged is ever lost.

  queue    {app.storage.store.description}  ({engine.totals.live:,} live jobs, epoch {app.broker.epoch})
  gRPC     grpc://localhost:{app.server.port}
  HTTP     {http}  (REST; {http}/docs explains it; WebSocket at /v1/ws)
  access   {_access(settings)}

  Try next, in another terminal:

    {curl} {http}/v1/jobs -H 'content-type: application/json' -d '{{"type": "hello", "payload": {{"name": "you"}}}}'
    {grpcurl} -plaintext localhost:{app.server.port} osqueue.v1.QueueService/GetStats
    osqueue stats{"" if app.server.port == 8081 else f" --broker grpc://localhost:{app.server.port}"}

    python - <<'END'
    import asyncio, osqueue
    async def main():
        async with osqueue.OsqueueClient("grpc://localhost:{app.server.port}") as client:
            print((await client.submit_job("hello", {{"name": "you"}})).id)
    asyncio.run(main())
    END
"""
    )


def _access(settings: Settings) -> str:
    if settings.token:
        return "callers need OSQUEUE_TOKEN"
    if settings.allow_remote:
        return click.style("everyone who can reach the ports (OSQUEUE_ALLOW_REMOTE)", fg="yellow")
    return "this machine only; set OSQUEUE_TOKEN to admit others"

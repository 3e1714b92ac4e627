"""`osqueue broker`: one broker, for production or for a machine of its own."""

import asyncio
import os
from collections.abc import Mapping

import click

from osqueue_cli.settings import settings_options
from osqueue_cli.supervisor import Supervisor
from osqueue_service.app import build
from osqueue_service.config import Settings
from osqueue_service.log_output import write_logs


@click.command()
@settings_options(storage_default="memory")
def broker(overrides: Mapping[str, str]) -> None:
    """Run a broker: it leads, or stands by until it may.

    Speaks gRPC. Every setting is an environment variable and a flag; the flag wins.
    A second broker on the same bucket stands by and takes over when the first one dies.

    \b
    Examples:
      osqueue broker --storage-backend file --data-dir /var/lib/osqueue
      osqueue broker --storage-backend s3 --s3-bucket jobs \\
                     --advertise-address broker-1:8081 --http-address gateway:8080
      LOG_FORMAT=json STORAGE_BACKEND=s3 S3_BUCKET=jobs osqueue broker
    """
    settings = Settings.read(os.environ, overrides)
    write_logs(settings.log_level, settings.log_format)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    app = await build(settings)
    await app.run(Supervisor().told())

"""`osqueue gateway`: HTTP in front of brokers."""

import asyncio
import os
from typing import Any

import click

from osqueue_cli.supervisor import Supervisor
from osqueue_gateway.__main__ import serve
from osqueue_gateway.config import GatewayConfig

VARIABLES = {
    "host": "BROKER_HOST",
    "port": "BROKER_PORT",
    "brokers": "BROKER_GRPC_ADDRESSES",
    "http_address": "BROKER_HTTP_ADDRESS",
    "token": "OSQUEUE_TOKEN",
    "token_file": "OSQUEUE_TOKEN_FILE",
    "allow_remote": "OSQUEUE_ALLOW_REMOTE",
    "cors_origins": "CORS_ORIGINS",
    "hosts": "OSQUEUE_HOSTS",
    "tls_ca_file": "OSQUEUE_TLS_CA_FILE",
    "tls_client_cert_file": "OSQUEUE_TLS_CLIENT_CERT_FILE",
    "tls_client_key_file": "OSQUEUE_TLS_CLIENT_KEY_FILE",
    "http_tls_cert_file": "OSQUEUE_HTTP_TLS_CERT_FILE",
    "http_tls_key_file": "OSQUEUE_HTTP_TLS_KEY_FILE",
}


@click.command()
@click.option("--host", metavar="VALUE", help="Address to listen on.  [env: BROKER_HOST, default: 0.0.0.0]")
@click.option("--port", metavar="VALUE", help="Port to listen on.  [env: BROKER_PORT, default: 8080]")
@click.option(
    "--brokers",
    metavar="VALUE",
    help="Their gRPC addresses, separated by commas; the leader is followed.  "
    "[env: BROKER_GRPC_ADDRESSES, default: 127.0.0.1:8081]",
)
@click.option("--http-address", metavar="VALUE", help="host:port at which others reach it.  [env: BROKER_HTTP_ADDRESS]")
@click.option(
    "--token",
    metavar="VALUE",
    help="Bearer token of callers and broker; the variable keeps it out of process lists.  [env: OSQUEUE_TOKEN]",
)
@click.option("--token-file", metavar="VALUE", help="File that holds the token.  [env: OSQUEUE_TOKEN_FILE]")
@click.option("--allow-remote", metavar="VALUE", help="1: serve everyone without a token.  [env: OSQUEUE_ALLOW_REMOTE]")
@click.option("--cors-origins", metavar="VALUE", help="Origins that may call, comma-separated.  [env: CORS_ORIGINS]")
@click.option("--hosts", metavar="VALUE", help="Its names for callers without a token.  [env: OSQUEUE_HOSTS]")
@click.option(
    "--tls-ca-file",
    metavar="FILE",
    help="Authority (PEM) of brokers, instead of those of the system.  [env: OSQUEUE_TLS_CA_FILE]",
)
@click.option(
    "--tls-client-cert-file",
    metavar="FILE",
    help="Certificate (PEM) that is shown to brokers.  [env: OSQUEUE_TLS_CLIENT_CERT_FILE]",
)
@click.option(
    "--tls-client-key-file", metavar="FILE", help="Private key of it (PEM).  [env: OSQUEUE_TLS_CLIENT_KEY_FILE]"
)
@click.option(
    "--http-tls-cert-file",
    metavar="FILE",
    help="Certificate chain (PEM): serve HTTPS.  [env: OSQUEUE_HTTP_TLS_CERT_FILE]",
)
@click.option("--http-tls-key-file", metavar="FILE", help="Private key of it (PEM).  [env: OSQUEUE_HTTP_TLS_KEY_FILE]")
@click.option(
    "--log-level",
    envvar="LOG_LEVEL",
    show_envvar=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest severity that is logged.",
)
@click.option(
    "--log-format", envvar="LOG_FORMAT", show_envvar=True, type=click.Choice(["text", "json"]),
    default="text", show_default=True, help="json: one object per line.",
)  # fmt: skip
def gateway(log_level: str, log_format: str, **flags: Any) -> None:
    """Run a gateway: REST, WebSocket and Connect.

    It stands in front of brokers, finds the one that leads, and follows it.

    \b
    Examples:
      osqueue gateway --brokers broker-1:8081,broker-2:8081
      BROKER_PORT=80 OSQUEUE_TOKEN=... osqueue gateway
    """
    from osqueue_service.log_output import write_logs

    given = {VARIABLES[flag]: str(value) for flag, value in flags.items() if value is not None}
    config = GatewayConfig.from_environment({**os.environ, **given})
    write_logs(log_level, log_format)
    asyncio.run(_run(config))


async def _run(config: GatewayConfig) -> None:
    await serve(config, Supervisor().told())

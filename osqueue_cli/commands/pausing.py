"""`osqueue pause` and `osqueue resume`: types that are not handed out."""

from typing import Any

import click

from osqueue_cli import admin, output
from osqueue_cli.connection import Connection, connection_options


@click.command(no_args_is_help=True)
@click.argument("types", nargs=-1, required=True, metavar="TYPE...")
@connection_options
def pause(connection: Connection, as_json: bool, types: tuple[str, ...]) -> None:
    """Hand out no more jobs of these types.

    Running jobs go on, new ones are accepted and wait. The pause survives restarts.
    '' stands for jobs without a type.

    \b
    Example:
      osqueue pause email report
    """
    from osqueue_stubs.osqueue.v1.admin_pb2 import PauseTypesRequest

    _change(connection, as_json, "PauseTypes", PauseTypesRequest(types=types))


@click.command(no_args_is_help=True)
@click.argument("types", nargs=-1, required=True, metavar="TYPE...")
@connection_options
def resume(connection: Connection, as_json: bool, types: tuple[str, ...]) -> None:
    """Hand out jobs of these types again."""
    from osqueue_stubs.osqueue.v1.admin_pb2 import ResumeTypesRequest

    _change(connection, as_json, "ResumeTypes", ResumeTypesRequest(types=types))


def _change(connection: Connection, as_json: bool, name: str, request: Any) -> None:
    answer = admin.run(connection, lambda calls: calls.call(name, request))
    paused = list(answer.paused_types)
    if as_json:
        output.print_json({"pausedTypes": paused})
    elif paused:
        click.echo(f"paused: {', '.join(each or repr('') for each in paused)}")
    else:
        click.echo("no type is paused")

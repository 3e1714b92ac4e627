"""`osqueue pause` and `osqueue resume`: types that are not handed out."""

import click

from osqueue_cli import output
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
    _print(connection.run(lambda client: client.admin.pause(types)), as_json)


@click.command(no_args_is_help=True)
@click.argument("types", nargs=-1, required=True, metavar="TYPE...")
@connection_options
def resume(connection: Connection, as_json: bool, types: tuple[str, ...]) -> None:
    """Hand out jobs of these types again."""
    _print(connection.run(lambda client: client.admin.resume(types)), as_json)


def _print(paused: list[str], as_json: bool) -> None:
    if as_json:
        output.print_json({"pausedTypes": paused})
    elif paused:
        output.say(f"paused: {', '.join(each or repr('') for each in paused)}")
    else:
        output.say("no type is paused")

"""`osqueue fairness`: whose turn it is."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import FairnessKeyInfo, OsqueueClient

HEAD = ["KEY", "WEIGHT", "WAITING", "RUNNING", "CLAIMED"]


@click.group(no_args_is_help=True)
def fairness() -> None:
    """Fairness keys: what waits of each, and its weight.

    \b
    Examples:
      osqueue fairness keys
      osqueue fairness weigh acme 3
    """


@fairness.command(no_args_is_help=True)
@click.argument("key")
@click.argument("weight", type=click.FloatRange(0.001, 1_000))
@connection_options
def weigh(connection: Connection, as_json: bool, key: str, weight: float) -> None:
    """Set how many turns a key has for one of a key of weight 1. The key '' stands for all jobs without one.

    \b
    Examples:
      osqueue fairness weigh acme 3
      osqueue fairness weigh "" 0.5
    """
    connection.run(lambda client: client.fairness.weigh(key, weight))
    if as_json:
        output.print_json({"key": key, "weight": weight})
    else:
        output.say(f"{key!r} has the weight {weight:g}")


@fairness.command()
@connection_options
def keys(connection: Connection, as_json: bool) -> None:
    """List the keys that have jobs or a weight of their own."""
    found = connection.run(_keys)
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(HEAD, [row(each) for each in found])
    else:
        output.note("no fairness key is in use")


async def _keys(client: "OsqueueClient") -> "list[FairnessKeyInfo]":
    return [key async for key in client.fairness.list_keys()]


def row(info: "FairnessKeyInfo") -> list[str]:
    """One key as a line of the table."""
    return [
        info.key or "''", f"{info.weight:g}", f"{info.waiting:,}", f"{info.running:,}", f"{info.claimed:,}",
    ]  # fmt: skip

"""`osqueue batches`: jobs that are counted together."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.graph_view import BATCH_HEAD, batch_row, print_batch
from osqueue_cli.params import DURATION
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import BatchInfo, OsqueueClient


@click.group(no_args_is_help=True)
def batches() -> None:
    """Batches, whose jobs are counted together: open, seal, list, show, cancel.

    \b
    Examples:
      id=$(osqueue batches open invoices)
      osqueue submit invoice '{"number": 1}' --batch "$id"
      osqueue batches seal "$id"
      osqueue batches show "$id"
    """


@batches.command("open")
@click.argument("name", default="")
@click.option("--parent", default="", metavar="ID", help="An open batch that it is a member of.")
@click.option(
    "--seal-after", "seal_after_ms", type=DURATION, default=0,
    help="Seal it when nothing was added for this long.  [default: 24h]",
)  # fmt: skip
@connection_options
def open_batch(connection: Connection, as_json: bool, name: str, parent: str, seal_after_ms: int) -> None:
    """Open a batch and print its id. `osqueue submit --batch ID` adds jobs to it."""
    from osqueue import OpenBatchRequest

    request = OpenBatchRequest(name, parent, seal_after_ms)
    batch_id = connection.run(lambda client: client.open_batch(request))
    if as_json:
        output.print_json({"batchId": batch_id})
    else:
        output.say(batch_id)


@batches.command(no_args_is_help=True)
@click.argument("batch_id", metavar="ID")
@connection_options
def seal(connection: Connection, as_json: bool, batch_id: str) -> None:
    """Let a batch take no more jobs: when all of its members have ended, so has it."""
    connection.run(lambda client: client.seal_batch(batch_id))
    if as_json:
        output.print_json({"sealed": batch_id})
    else:
        output.say(f"{batch_id} is sealed")


@batches.command("list")
@click.argument("name", default="")
@click.option(
    "-s", "--status", "statuses", multiple=True,
    type=click.Choice(["open", "sealed", "completed", "dead", "cancelled"]), help="Only in this status; repeatable.",
)  # fmt: skip
@connection_options
def list_batches(connection: Connection, as_json: bool, name: str, statuses: tuple[Any, ...]) -> None:
    """List the batches, oldest first; with NAME, those that are called so."""

    async def listed(client: "OsqueueClient") -> "list[BatchInfo]":
        return [each async for each in client.list_batches(name=name, statuses=statuses)]

    found = connection.run(listed)
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(BATCH_HEAD, [batch_row(each) for each in found])
    else:
        output.note("no batch matches")


@batches.command(no_args_is_help=True)
@click.argument("batch_id", metavar="ID")
@connection_options
def show(connection: Connection, as_json: bool, batch_id: str) -> None:
    """Show how far a batch has come, and the jobs that it submitted at its end."""
    print_batch(connection.run(lambda client: client.get_batch(batch_id)), as_json=as_json)


@batches.command(no_args_is_help=True)
@click.argument("batch_id", metavar="ID")
@connection_options
def cancel(connection: Connection, as_json: bool, batch_id: str) -> None:
    """Cancel the members of a batch that wait, and ask the workers of those that run to stop.

    Of its callbacks only the one of its end is submitted then.
    """
    done = connection.run(lambda client: client.cancel_batch(batch_id))
    if as_json:
        output.print_json(to_json(done))
    else:
        output.say(f"{output.plural(done.live, 'live member')} to be cancelled, or asked to stop")

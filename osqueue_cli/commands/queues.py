"""`osqueue queues`: queues with names beside the default one."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, process_options
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient, QueueInfo

HEAD = ["QUEUE", "WAITING", "RUNNING", "DEAD", "MAX", "CREATED", "DESCRIPTION"]
MAX = click.IntRange(min=0)


@click.group(no_args_is_help=True)
def queues() -> None:
    """Queues with names: create, list, change, delete.

    Every command about jobs takes --queue NAME; without it, it is about the default queue.

    \b
    Examples:
      osqueue queues create emails --description "to customers"
      osqueue submit --queue emails welcome '{"to": "ada"}'
      osqueue queues list
    """


@queues.command(no_args_is_help=True)
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
@click.option("--max-jobs", type=MAX, default=0, help="Most live jobs that it holds; 0: as many as any queue.")
@process_options
def create(connection: Connection, as_json: bool, name: str, description: str, max_jobs: int) -> None:
    """Create a queue. One that there is already stays as it is."""
    made = connection.run(lambda client: client.queues.create(name, description=description, max_jobs=max_jobs))
    if as_json:
        output.print_json({"created": made.created, "queue": to_json(made.queue)})
    else:
        output.say(f"{name} is created" if made.created else f"{name} was there already, and stays as it is")


@queues.command(name="list")
@click.argument("prefix", default="")
@process_options
def list_queues(connection: Connection, as_json: bool, prefix: str) -> None:
    """List the queues whose names begin with PREFIX."""
    found = connection.run(lambda client: _all(client, prefix))
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(HEAD, [_row(each) for each in found])
    else:
        output.note("there are no queues with names")


@queues.command(no_args_is_help=True)
@click.argument("name")
@process_options
def show(connection: Connection, as_json: bool, name: str) -> None:
    """Show one queue."""
    found = connection.run(lambda client: client.queues.get(name))
    if as_json:
        output.print_json(to_json(found))
    else:
        output.print_table(HEAD, [_row(found)])


@queues.command(no_args_is_help=True)
@click.argument("name")
@click.option("--description", help="What it is for.")
@click.option("--max-jobs", type=MAX, help="Most live jobs that it holds; 0: as many as any queue.")
@process_options
def change(connection: Connection, as_json: bool, name: str, description: str | None, max_jobs: int | None) -> None:
    """Change what is said of a queue; what is not given stays."""
    if description is None and max_jobs is None:
        raise click.UsageError("give --description or --max-jobs")
    found = connection.run(lambda client: client.queues.update(name, description=description, max_jobs=max_jobs))
    if as_json:
        output.print_json(to_json(found))
    else:
        output.say(f"{name} is changed")


@queues.command(no_args_is_help=True)
@click.argument("name")
@click.option("--force", is_flag=True, help="Though it has live jobs: they are lost.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@process_options
def delete(connection: Connection, as_json: bool, name: str, force: bool, yes: bool) -> None:
    """Delete a queue with everything in it. Refused while it has live jobs, unless --force is given.

    \b
    Examples:
      osqueue queues delete emails
      osqueue queues delete emails --force --yes       in a script
    """
    if not yes:
        asking.require_somebody(f"deletes the queue {name} for good", "`osqueue queues show` says what is in it")
        asking.confirm(f"delete the queue {name} with everything in it, for good?")
    lost = connection.run(lambda client: client.queues.delete(name, force=force))
    if as_json:
        output.print_json({"name": name, "liveJobs": lost})
    else:
        output.say(f"{name} is deleted" + (f", with {output.plural(lost, 'live job')}" if lost else ""))


async def _all(client: "OsqueueClient", prefix: str) -> "list[QueueInfo]":
    return [queue async for queue in client.queues.all(prefix)]


def _row(info: "QueueInfo") -> list[str]:
    counts = info.counts
    figures = [f"{each:,}" if info.open else "" for each in (counts.unclaimed, counts.in_progress, counts.dead)]
    most = f"{info.max_jobs:,}" if info.max_jobs else ""
    return [info.name, *figures, most, output.timestamp(info.created_at), info.description]

"""`osqueue workflows`: jobs that need other jobs to end before they run."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.graph_view import WORKFLOW_HEAD, print_workflow, workflow_row
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient, WorkflowInfo


@click.group(no_args_is_help=True)
def workflows() -> None:
    """Workflows, whose jobs need each other: list, show, cancel.

    \b
    Examples:
      osqueue workflows list --status running
      osqueue workflows show 01J8...
      osqueue job retry 01J8...    # of a dead job: what it cut off waits again
    """


@workflows.command("list")
@click.argument("name", default="")
@click.option(
    "-s", "--status", "statuses", multiple=True,
    type=click.Choice(["running", "completed", "dead", "cancelled"]), help="Only in this status; repeatable.",
)  # fmt: skip
@connection_options
def list_workflows(connection: Connection, as_json: bool, name: str, statuses: tuple[Any, ...]) -> None:
    """List the workflows, oldest first; with NAME, those that are called so."""

    async def listed(client: "OsqueueClient") -> "list[WorkflowInfo]":
        return [each async for each in client.list_workflows(name=name, statuses=statuses)]

    found = connection.run(listed)
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(WORKFLOW_HEAD, [workflow_row(each) for each in found])
    else:
        output.note("no workflow matches")


@workflows.command(no_args_is_help=True)
@click.argument("workflow_id", metavar="ID")
@connection_options
def show(connection: Connection, as_json: bool, workflow_id: str) -> None:
    """Show a workflow as a graph: each node below what it needs, with its status and its job."""
    print_workflow(connection.run(lambda client: client.get_workflow(workflow_id)), as_json=as_json)


@workflows.command(no_args_is_help=True)
@click.argument("workflow_id", metavar="ID")
@connection_options
def cancel(connection: Connection, as_json: bool, workflow_id: str) -> None:
    """Cancel the jobs of a workflow that wait, and ask the workers of those that run to stop."""
    done = connection.run(lambda client: client.cancel_workflow(workflow_id))
    if as_json:
        output.print_json(to_json(done))
    else:
        asked = f"; {output.plural(done.asked, 'worker')} asked to stop" if done.asked else ""
        output.say(f"{output.plural(done.cancelled, 'job')} cancelled{asked}")

"""`osqueue workers`: who takes jobs."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient, WorkerInfo

HEAD = ["WORKER", "RUNNING", "SLOTS", "DONE", "FAILED", "SEEN", "VERSION", "TYPES"]


@click.command()
@connection_options
def workers(connection: Connection, as_json: bool) -> None:
    """List the workers seen lately, with what they hold.

    The leader remembers workers in memory: after a failover it learns of each one with its next call.
    """
    found = connection.run(seen)
    if as_json:
        for worker in found:
            output.print_json_line(to_json(worker))
    elif found:
        output.print_table(HEAD, [row(worker) for worker in found])
    else:
        output.note("no worker was seen lately")


async def seen(client: "OsqueueClient") -> "list[WorkerInfo]":
    """All of them."""
    return [worker async for worker in client.admin.workers()]


def row(worker: "WorkerInfo") -> list[str]:
    """One worker as a line of the table."""
    state = " (draining)" if worker.draining else ""
    return [
        worker.worker_id + state, f"{worker.leases:,}", f"{worker.slots:,}" if worker.slots else "",
        f"{worker.completed:,}", f"{worker.failed:,}", output.since(worker.last_seen_at), worker.version,
        ", ".join(worker.types) or "(any)",
    ]  # fmt: skip

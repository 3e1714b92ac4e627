"""`osqueue workers`: who takes jobs."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import admin, output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.shapes import message_json

if TYPE_CHECKING:
    from osqueue_stubs.osqueue.v1.admin_pb2 import WorkerInfo

HEAD = ["WORKER", "RUNNING", "SLOTS", "DONE", "FAILED", "SEEN", "VERSION", "TYPES"]


@click.command()
@connection_options
def workers(connection: Connection, as_json: bool) -> None:
    """List the workers seen lately, with what they hold.

    The leader remembers workers in memory: after a failover it learns of each one with its next call.
    """
    found = admin.run(connection, seen)
    if as_json:
        for worker in found:
            output.print_json_line(message_json(worker))
    elif found:
        output.print_table(HEAD, [row(worker) for worker in found])
    else:
        output.note("no worker was seen lately")


async def seen(calls: admin.Admin) -> "list[WorkerInfo]":
    """All workers, page by page."""
    from osqueue_stubs.osqueue.v1.admin_pb2 import ListWorkersRequest

    found: list[Any] = []
    page_token = ""
    while True:
        page = await calls.call("ListWorkers", ListWorkersRequest(page_token=page_token))
        found += page.workers
        page_token = page.next_page_token
        if not page_token:
            return found


def row(worker: "WorkerInfo") -> list[str]:
    """One worker as a line of the table."""
    state = " (draining)" if worker.draining else ""
    return [
        worker.worker_id + state, f"{worker.leases:,}", f"{worker.slots:,}" if worker.slots else "",
        f"{worker.completed:,}", f"{worker.failed:,}", output.since(worker.last_seen_at), worker.version,
        ", ".join(worker.types) or "(any)",
    ]  # fmt: skip

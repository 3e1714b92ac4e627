"""`osqueue audit`: who changed the course of jobs."""

from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.params import DURATION
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.access_messages import AuditEntry

HEAD = ["WHEN", "WHO", "FROM", "WHAT", "HOW MANY", "WHICH"]
ACTIONS = [
    "cancel", "retry", "purge", "pause", "resume", "step_down",
    "put_schedule", "delete_schedule", "pause_schedule", "resume_schedule",
    "put_limit", "delete_limit", "override_limit", "reset_limit",
    "put_fairness_weight",
]  # fmt: skip


@click.command()
@click.option("--who", default="", metavar="ID", help="Only what this principal asked for (see whoami).")
@click.option("--action", type=click.Choice(ACTIONS), default=None, help="Only this.")
@click.option("--since", type=DURATION, default=None, help="Only of the last while, such as 15m.")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many.")
@connection_options
def audit(
    connection: Connection, as_json: bool, who: str, action: str | None, since: int | None, limit: int
) -> None:  # fmt: skip
    """List who changed jobs, schedules and limits.

    The newest first. Who shows no token leaves no name.

    \b
    Examples:
      osqueue audit --since 15m
      osqueue audit --action purge --who boot
    """
    start = output.now_ms() - since if since else 0
    found = connection.run(lambda client: _found(client, limit, principal=who, action=action or "", since=start))
    if as_json:
        output.print_json([to_json(entry) for entry in found])
        return
    if not found:
        output.note("nothing on record: who shows no token leaves no name")
        return
    output.print_table(HEAD, [_row(entry) for entry in found])


async def _found(client: "OsqueueClient", limit: int, **wanted: Any) -> "list[AuditEntry]":
    found: list[AuditEntry] = []
    async for entry in client.tokens.audit(**wanted):
        found.append(entry)
        if len(found) == limit:
            break
    return found


def _row(entry: "AuditEntry") -> list[str]:
    more = ["..."] if entry.count > len(entry.names) else []
    names = [name or "(no type)" for name in entry.names]
    return [
        output.timestamp(entry.at),
        entry.principal,
        entry.origin or "-",
        entry.action.replace("_", "-"),
        str(entry.count) if entry.count else "-",
        " ".join(chain(names[:3], ["..."] if len(names) > 3 else more)) or "-",
    ]

"""`osqueue stats`: the queue in numbers."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue.messages import Stats, TypeStats

HEAD = ["TYPE", "WAITING", "SCHEDULED", "RUNNING", "DONE/S", "DEAD", "OLDEST", "WORKERS", ""]


@click.command()
@connection_options
def stats(connection: Connection, as_json: bool) -> None:
    """Show how many jobs there are and how fast they flow.

    \b
    Examples:
      osqueue stats
      osqueue stats --json | jq .counts.unclaimed
    """
    found = connection.run(lambda client: client.get_stats())
    if as_json:
        output.print_json(to_json(found))
    else:
        print_stats(found)


def print_stats(found: "Stats") -> None:
    """The whole queue, then each type."""
    counts, rates = found.counts, found.rates
    output.print_fields(
        {
            "waiting": f"{counts.unclaimed:,}" + _oldest(found.oldest_ready_age_ms),
            "scheduled": f"{counts.scheduled:,}",
            "running": f"{counts.in_progress:,}",
            "completed": f"{counts.completed_total:,}",
            "dead": f"{counts.dead:,}",
            "cancelled": f"{counts.cancelled:,}",
            "rates": f"{rates.submitted:,.1f} submitted/s, {rates.completed:,.1f} completed/s, "
            f"{rates.failed:,.1f} failed/s (last {output.duration(rates.window_ms)})",
            "in memory": output.size(found.bytes),
            "durable up to": f"epoch {found.position.epoch}, commit {found.position.sequence:,}"
            if found.position
            else "",
        }
    )
    if found.types:
        click.echo()
        output.print_table(HEAD, [type_row(each) for each in found.types])


def type_row(each: "TypeStats") -> list[str]:
    """One type as a line of the table."""
    counts = each.counts
    return [
        each.type or "(none)", f"{counts.unclaimed:,}", f"{counts.scheduled:,}", f"{counts.in_progress:,}",
        f"{each.rates.completed:,.1f}", f"{counts.dead:,}",
        output.duration(each.oldest_ready_age_ms) if each.oldest_ready_age_ms else "",
        f"{each.workers:,}", "paused" if each.paused else "",
    ]  # fmt: skip


def _oldest(age_ms: int) -> str:
    return f" (the oldest for {output.duration(age_ms)})" if age_ms else ""

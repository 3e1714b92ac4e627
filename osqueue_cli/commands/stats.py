"""`osqueue stats`: the queue in numbers."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.commands.fairness import HEAD as KEY_HEAD
from osqueue_cli.commands.fairness import row as key_row
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue.admin_messages import StorageStats
    from osqueue.stats import Stats, TypeStats

HEAD = ["TYPE", "WAITING", "SCHEDULED", "RUNNING", "DONE/S", "DEAD", "OLDEST", "WORKERS", ""]
STORAGE_HEAD = ["REQUEST", "COUNT", "ERRORS", "BYTES", "P50", "P99"]


@click.command()
@click.option("--storage", is_flag=True, help="Show what the object store was asked for instead, and what that costs.")
@connection_options
def stats(connection: Connection, as_json: bool, storage: bool) -> None:
    """Show how many jobs there are and how fast they flow.

    \b
    Examples:
      osqueue stats
      osqueue stats --json | jq .counts.unclaimed
      osqueue stats --storage
    """
    if storage:
        answer = connection.run(lambda client: client.admin.storage())
        if as_json:
            output.print_json(to_json(answer))
        else:
            _print_storage(answer)
        return
    found = connection.run(lambda client: client.get_stats())
    if as_json:
        output.print_json(to_json(found))
    else:
        print_stats(found)


def print_stats(found: "Stats") -> None:
    """The whole queue, then each type."""
    counts, rates = found.counts, found.rates
    position = found.position
    output.print_fields(
        {
            "waiting": f"{counts.unclaimed:,}" + _oldest(found.oldest_ready_age_ms),
            "scheduled": f"{counts.scheduled:,}",
            "blocked": f"{counts.blocked:,}" if counts.blocked else "",
            "running": f"{counts.in_progress:,}",
            "completed": f"{counts.completed_total:,}",
            "dead": f"{counts.dead:,}",
            "cancelled": f"{counts.cancelled:,}",
            "rates": f"{rates.submitted:,.1f} submitted/s, {rates.completed:,.1f} completed/s, "
            f"{rates.failed:,.1f} failed/s (last {output.duration(rates.window_ms)})",
            "in memory": output.size(found.bytes),
            "durable up to": f"epoch {position.epoch}, commit {position.sequence:,}" if position else "",
        }
    )
    if found.types:
        output.say()
        output.print_table(HEAD, [type_row(each) for each in found.types])
    if found.fairness:
        output.say()
        output.print_table(KEY_HEAD, [key_row(each) for each in found.fairness])


def type_row(each: "TypeStats") -> list[str]:
    """One type as a line of the table."""
    counts = each.counts
    return [
        each.type or "(none)", f"{counts.unclaimed:,}", f"{counts.scheduled:,}", f"{counts.in_progress:,}",
        f"{each.rates.completed:,.1f}", f"{counts.dead:,}",
        output.duration(each.oldest_ready_age_ms) if each.oldest_ready_age_ms else "",
        f"{each.workers:,}",
        "  ".join(["paused"] * each.paused + [f"{counts.blocked:,} blocked"] * (counts.blocked > 0)),
    ]  # fmt: skip


def _oldest(age_ms: int) -> str:
    return f" (the oldest for {output.duration(age_ms)})" if age_ms else ""


def _print_storage(answer: "StorageStats") -> None:
    throttle, cost = answer.throttle, answer.cost
    output.print_fields(
        {
            "store": f"{answer.backend}: {answer.location}",
            "since": f"{output.timestamp(answer.since)} ({output.ago(answer.since)})",
            "commits": f"{answer.commits:,} with {output.plural(answer.records, 'record')}, "
            f"{output.size(answer.segment_bytes)}",
            "last commit": output.ago(answer.last_commit_at),
            "checkpoints": f"{answer.checkpoints:,}, {output.size(answer.checkpoint_bytes)}",
            "unknown outcomes": f"{answer.unknown_outcomes:,}, each settled by reading",
            "throttled": f"{throttle.throttled_writes:,} writes waited "
            f"{output.duration(throttle.total_write_delay_ms)} in all"
            if throttle is not None
            else "",
            "cost": f"{cost.requests:,.4f} {cost.currency}; {cost.per_day:,.4f} per day, "
            f"{cost.per_million_jobs:,.4f} per million jobs"
            if cost is not None
            else "",
        }
    )
    output.say()
    rows = [
        [
            each.operation, f"{each.requests:,}", f"{each.errors:,}", output.size(each.bytes),
            output.duration(each.latency_ms_p50), output.duration(each.latency_ms_p99),
        ]
        for each in answer.operations
    ]  # fmt: skip
    output.print_table(STORAGE_HEAD, rows)

"""`osqueue history`: how the queue has been doing lately."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.params import DURATION, PAST
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue.admin_messages import HistoryPoint, Latency

HEAD = [
    "FROM", "SUBMITTED", "STARTED", "COMPLETED", "FAILED", "DIED", "WAITING", "SCHEDULED", "RUNNING",
    "WAITED", "RAN", "COMMITS", "COMMIT", "REQUESTS",
]  # fmt: skip
POINTS_MAX = 3_600
"""As many as the leader keeps, one a second."""


@click.command()
@click.option("--since", type=PAST, default="10m", show_default=True, help="From then on; the leader keeps an hour.")
@click.option("--step", "step_ms", type=DURATION, default="30s", show_default=True, help="Time that a line covers.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, POINTS_MAX), default=POINTS_MAX,
    help="Show at most this many lines, the newest.",
)  # fmt: skip
@connection_options
def history(connection: Connection, as_json: bool, since: int, step_ms: int, limit: int) -> None:
    """Show the leader's figures of the last hour, a line for each step.

    Jobs are counted in the step, those WAITING, SCHEDULED and RUNNING at its end. Times are medians and 99th
    percentiles: until a job was started, until it was completed, until a commit was durable.

    \b
    Examples:
      osqueue history
      osqueue history --since 1h --step 5m
      osqueue history --since 1m --step 1s --json | jq .commitLatency.p99Ms
    """
    points = connection.run(lambda client: client.admin.history(since=since, step_ms=step_ms, max_points=limit)).points
    if as_json:
        for point in points:
            output.print_json_line(to_json(point))
    elif points:
        output.print_table(HEAD, [_row(point) for point in points])
    else:
        output.note("the leader has no figures of that time: it began to lead later, or keeps none that old")


def _row(point: "HistoryPoint") -> list[str]:
    counted = (point.submitted, point.claimed, point.completed, point.failed, point.dead)
    left = (point.unclaimed, point.scheduled, point.in_progress)
    return [
        output.timestamp(point.at)[11:19], *(f"{count:,}" for count in counted), *(f"{count:,}" for count in left),
        _took(point.wait_latency, point.claimed), _took(point.run_latency, point.completed), f"{point.commits:,}",
        _took(point.commit_latency, point.commits), f"{point.storage_requests:,}",
    ]  # fmt: skip


def _took(latency: "Latency", times: int) -> str:
    return f"{output.duration(latency.p50_ms)} / {output.duration(latency.p99_ms)}" if times else ""

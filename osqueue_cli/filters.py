"""Which jobs a command means: the same options in every command that chooses jobs, one for each part of a filter."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from osqueue_cli.output import STATUS_COLOURS
from osqueue_cli.params import LABEL, PAST, labels

if TYPE_CHECKING:
    from osqueue.job import FilterOptions

C = TypeVar("C", bound=Callable[..., Any])

STATUSES = tuple(STATUS_COLOURS)
FINISHED = ("completed", "dead", "cancelled")

_OPTIONS = (
    click.option("-t", "--type", "types", multiple=True, metavar="TYPE", help="Only these types; repeatable."),
    click.option(
        "-w", "--worker", "worker_id", default="", help="Only those that this worker holds or held last."
    ),
    click.option(
        "-m", "--meta", "metadata", type=LABEL, multiple=True, metavar="KEY=VALUE",
        callback=lambda context, parameter, pairs: labels(pairs), help="Only with this label; repeatable.",
    ),
    click.option(
        "--error", "error_type", default="", metavar="TYPE", help="Only those whose last error is of this type."
    ),
    click.option(
        "--unique-key", "unique_key", default="", metavar="KEY",
        help="Only the job that holds this unique key, and the one blocked behind it.",
    ),
    click.option(
        "--sequence", "sequence_key", default="", metavar="KEY", help="Only the jobs of this sequence.",
    ),
    click.option(
        "--fairness-key", default="", metavar="KEY", help="Only those with this fairness key.",
    ),
    click.option("--limit-name", default="", metavar="NAME", help="Only those under this limit."),
    click.option("--limit-key", default="", metavar="KEY", help="Only those under a limit with this key."),
    click.option("--since", "created_from", type=PAST, default=0, help="Submitted since: 1h, 2025-01-31T09:00."),
    click.option("--before", "created_before", type=PAST, default=0, help="Submitted before."),
    click.option("--ended-since", "finished_from", type=PAST, default=0, help="Finished since: 1h, 2025-01-31T09:00."),
    click.option("--ended-before", "finished_before", type=PAST, default=0, help="Finished before."),
    click.option("--schedule", "schedule_id", default="", metavar="ID", help="Only those that this schedule made."),
    click.option("--batch", "batch_id", default="", metavar="ID", help="Only members of this batch."),
    click.option("--workflow", "workflow_id", default="", metavar="ID", help="Only nodes of this workflow."),
)  # fmt: skip


def filter_options(statuses: Sequence[str] = (), *, help: str = "Repeatable.") -> Callable[[C], C]:
    """Options for every part of a filter, handed to the command under the names of `osqueue.FilterOptions`. `statuses`
    are those to choose from; a command that is about one status offers none."""

    def decorate(command: C) -> C:
        for option in reversed(_OPTIONS):
            command = option(command)
        if statuses:
            status = click.Choice(list(statuses))
            command = click.option("-s", "--status", "statuses", type=status, multiple=True, help=help)(command)
        return command

    return decorate


def given(filters: dict[str, Any]) -> "FilterOptions":
    """The parts of the filter that the caller gave."""
    return cast("FilterOptions", {name: value for name, value in filters.items() if value})

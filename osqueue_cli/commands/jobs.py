"""`osqueue jobs`: which jobs there are, and what happens to them."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.filters import STATUSES, filter_options, given
from osqueue_cli.shapes import preview, to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.job import Job
    from osqueue.messages import JobEvent, JobOrder

HEAD = ["ID", "TYPE", "STATUS", "TRIES", "SUBMITTED", "WORKER", "PAYLOAD"]


@click.command()
@filter_options(STATUSES, help="Repeatable.  [default: live]")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="No limit.")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--soonest", is_flag=True, help="Scheduled jobs, the next to run first.")
@click.option("-f", "--follow", is_flag=True, help="Show what happens to jobs, as it happens, until Ctrl-C.")
@connection_options
def jobs(
    connection: Connection, as_json: bool, follow: bool, limit: int, everything: bool, newest: bool, soonest: bool,
    **filters: Any,
) -> None:  # fmt: skip
    """List jobs, or follow what happens to them.

    \b
    Examples:
      osqueue jobs                                the live ones
      osqueue jobs --newest -n 10
      osqueue jobs -s dead -t email --since 1d
      osqueue jobs --worker worker-7 --json       one JSON object a line
      osqueue jobs --follow
      osqueue jobs --all --json | jq -r .id
    """
    if follow:
        if given(filters).keys() - {"types"}:
            raise click.UsageError("--follow goes together with --type only")
        connection.run(lambda client: _follow(client, filters["types"], as_json))
        return
    if newest and soonest:
        raise click.UsageError("--newest and --soonest contradict each other")
    chosen: dict[str, Any] = {**given(filters)}
    if soonest:
        chosen.setdefault("statuses", ("scheduled",))
    order: JobOrder = "newest" if newest else "soonest" if soonest else "oldest"
    connection.run(lambda client: _list(client, None if everything else limit, as_json, order=order, **chosen))


async def _list(client: "OsqueueClient", limit: int | None, as_json: bool, order: "JobOrder", **filters: Any) -> None:
    page_size = min(1_000, limit + 1) if limit else 1_000
    shown: list[Job] = []
    more = False
    count = 0
    async for job in client.list_jobs(page_size=page_size, order=order, **filters):
        if count == limit:
            more = True
            break
        count += 1
        if as_json:
            output.print_json_line(to_json(job))
        else:
            shown.append(job)
    if not as_json:
        if shown:
            output.print_table(HEAD, [row(job) for job in shown], status_column=2)
        else:
            output.note("no jobs match")
    if more:
        output.note(f"these are the {order} {limit:,}; --limit and --all show more")


def row(job: "Job") -> list[str]:
    """The job as a line of the table."""
    tries = f"{job.attempts}/{job.effective_max_attempts}" if job.effective_max_attempts else str(job.attempts)
    return [job.id, job.type, job.status, tries, output.since(job.created_at), job.worker_id, preview(job.payload)]


async def _follow(client: "OsqueueClient", types: tuple[str, ...], as_json: bool) -> None:
    from osqueue.messages import JobEvent, Resync

    if not as_json:
        output.note("following; Ctrl-C ends it")
    async for event in client.watch(types=types):
        if as_json:
            output.print_json_line(to_json(event))
        elif isinstance(event, JobEvent):
            output.say(_event_line(event))
        elif isinstance(event, Resync):
            output.note(f"events may have been missed: {event.message or event.reason}")


def _event_line(event: "JobEvent") -> output.Styled:
    details = [
        event.worker_id and f"by {event.worker_id}",
        event.attempt and f"attempt {event.attempt}",
        event.progress and f"{event.progress.fraction:.0%} {event.progress.message}",
        event.error and f"{event.error.type}: {event.error.message}",
        event.run_at and f"next {output.ago(event.run_at)}",
    ]
    kind = output.styled(f"{event.kind:<16}", fg=output.STATUS_COLOURS.get(event.status))
    told = output.first_line(" · ".join(str(detail) for detail in details if detail))
    what = f"  {event.job_id}  {event.type:<12}  {told}".rstrip()
    return output.joined(f"{output.timestamp(event.at)[11:]}  ", kind, what)

"""`osqueue dead`: jobs that failed for good, and their second chance."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.filters import filter_options, given
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.job import Job

HEAD = ["ID", "TYPE", "TRIES", "DIED", "ERROR"]
GROUP_HEAD = ["COUNT", "TYPE", "ERROR", "LAST", "SAMPLE"]


@click.group()
def dead() -> None:
    """Dead letters: list, retry.

    \b
    Examples:
      osqueue dead list --by-error        what goes wrong most?
      osqueue dead list --type email
      osqueue dead retry --type email --error SmtpError
    """


@dead.command("list")
@filter_options()
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many.")
@click.option("--by-error", is_flag=True, help="Count them by type and error, the most frequent first.")
@connection_options
def list_dead(connection: Connection, as_json: bool, limit: int, by_error: bool, **filters: Any) -> None:
    """List dead letters with their last errors."""
    if by_error:
        if given(filters).keys() - {"types"}:
            raise click.UsageError("--by-error goes together with --type only: it shows every error")
        _list_groups(connection, as_json, filters["types"], limit)
    else:
        connection.run(lambda client: _list(client, as_json, limit, **given(filters)))


@dead.command()
@click.argument("job_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@filter_options()
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connection_options
def retry(
    connection: Connection, as_json: bool, job_ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool,
    **filters: Any,
) -> None:  # fmt: skip
    """Make dead letters ready again, each with a new budget of attempts.

    Those chosen by a filter are counted first, and then asked about; a script must say --yes.

    \b
    Examples:
      osqueue dead retry 01J8... 01J9...
      osqueue dead retry --type email --error SmtpError --dry-run
      osqueue dead retry --all --yes
    """
    from osqueue.submission import job_filter

    by_filter = everything or bool(given(filters))
    if bool(job_ids) == by_filter:
        raise click.UsageError("say which: ids, or options such as --type and --error, or --all")
    matching = job_filter({"statuses": ("dead",), **given(filters)}) if by_filter else None

    async def change(client: "OsqueueClient", only_look: bool) -> Any:
        return await client.retry_jobs(job_ids, matching=matching, dry_run=only_look)

    if by_filter and not (dry_run or yes):
        asking.require_somebody("makes them ready again", "--dry-run says which")
        found = connection.run(lambda client: change(client, True))
        if found.changed:
            asking.confirm(f"make {output.plural(len(found.changed), 'dead job')} ready again?")
    _report(connection.run(lambda client: change(client, dry_run)), dry_run, as_json)


def _report(changes: Any, dry_run: bool, as_json: bool) -> None:
    changed, refused = changes.changed, changes.refused
    if as_json:
        output.print_json(
            {
                "dryRun": dry_run,
                "retried": [change.job_id for change in changed],
                "refused": {job_id: error.message for job_id, error in refused.items()},
            }
        )
    else:
        verb = "would be" if dry_run else "are"
        output.say(f"{output.plural(len(changed), 'job')} {verb} ready again")
        for job_id, error in refused.items():
            output.note(f"{job_id}: {error.message}")
    if refused:
        raise Failure(f"{output.plural(len(refused), 'job')} unchanged", Exit.CONFLICT)


async def _list(client: "OsqueueClient", as_json: bool, limit: int, **filters: Any) -> None:
    found: list[Job] = []
    async for job in client.list_jobs(statuses=["dead"], page_size=min(1_000, limit + 1), **filters):
        found.append(job)
        if len(found) > limit:
            break
    for job in found[:limit]:
        if as_json:
            output.print_json_line(to_json(job))
    if not as_json:
        if found:
            output.print_table(HEAD, [_row(job) for job in found[:limit]])
        else:
            output.note("no dead letters match")
    if len(found) > limit:
        output.note(f"these are the oldest {limit:,}; --limit shows more")


def _row(job: "Job") -> list[str]:
    error = f"{job.error.type}: {job.error.message}" if job.error else ""
    return [job.id, job.type, str(job.attempts), output.since(job.finished_at), error]


def _list_groups(connection: Connection, as_json: bool, types: tuple[str, ...], limit: int) -> None:
    answer = connection.run(lambda client: client.admin.dead_groups(types, max_groups=min(1_000, limit)))
    if as_json:
        output.print_json(to_json(answer))
    elif answer.groups:
        rows = [
            [f"{group.count:,}", group.type, group.error_type, output.since(group.newest_at), group.sample_message]
            for group in answer.groups
        ]
        output.print_table(GROUP_HEAD, rows)
        if answer.others:
            output.note(f"and {output.plural(answer.others, 'dead letter')} in further groups")
    else:
        output.note("no dead letters match")

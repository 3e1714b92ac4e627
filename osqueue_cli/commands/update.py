"""`osqueue update` and `osqueue run-now`: jobs that wait are changed."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import exit_of
from osqueue_cli.failing import Failure
from osqueue_cli.filters import filter_options, given
from osqueue_cli.params import DURATION, FUTURE, LABEL, labels

if TYPE_CHECKING:
    from osqueue import Changes, JobFilter, OsqueueClient

WAITING = ("unclaimed", "scheduled", "blocked")
PUT_OFF = ("scheduled", "blocked")

Changing = Callable[..., Awaitable["Changes"]]


@click.command("run-now", no_args_is_help=True)
@click.argument("job_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every job that waits for its time.")
@filter_options(PUT_OFF, help="Only those that wait like this; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connection_options
def run_now(
    connection: Connection, as_json: bool, job_ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool,
    **filters: Any,
) -> None:  # fmt: skip
    """Run jobs now that wait for their time: delayed ones, and those that a failure put off.

    Those chosen by a filter are counted first, and then asked about; a script must say --yes.

    \b
    Examples:
      osqueue run-now 01J8... 01J9...
      osqueue run-now --type email --dry-run
    """
    matching = _which(job_ids, everything, filters)

    async def change(client: "OsqueueClient", only_look: bool) -> "Changes":
        return await client.run_jobs(job_ids, matching=matching, dry_run=only_look)

    _change(connection, change, bool(matching), "run {jobs} now", as_json=as_json, dry_run=dry_run, yes=yes)


@click.command(no_args_is_help=True)
@click.argument("job_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every job that waits.")
@click.option("--priority", type=click.IntRange(-1_000, 1_000), help="Higher runs first.")
@click.option("--delay", "delay_ms", type=DURATION, help="Run after this time at the earliest; 0: at once.")
@click.option("--at", "run_at", type=FUTURE, help="Run at this time at the earliest, e.g. 2030-01-31T09:00.")
@click.option(
    "--set-meta",
    "meta",
    type=LABEL,
    multiple=True,
    metavar="KEY=VALUE",
    help="A label, in place of all that there are; repeatable.",
)
@click.option("--no-meta", is_flag=True, help="Take all labels away.")
@click.option("--payload", help="Other work, for one job.")
@click.option("--payload-file", type=click.File("rb"), help="The same from a file; - is standard input.")
@filter_options(WAITING, help="Only those that wait like this; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connection_options
def update(
    connection: Connection, as_json: bool, job_ids: tuple[str, ...], everything: bool, priority: int | None,
    delay_ms: int | None, run_at: int | None, meta: tuple[tuple[str, str], ...], no_meta: bool, payload: str | None,
    payload_file: BinaryIO | None, dry_run: bool, yes: bool, **filters: Any,
) -> None:  # fmt: skip
    """Change jobs that wait: priority, time, labels, payload.

    Those chosen by a filter are counted first, and then asked about; a script must say --yes. What runs or has ended
    stays as it is.

    \b
    Examples:
      osqueue update 01J8... --priority 10
      osqueue update --type report --delay 2h --dry-run
      osqueue update 01J8... --payload '{"to": "ada"}'
    """
    matching = _which(job_ids, everything, filters)
    if meta and no_meta:
        raise click.UsageError("--set-meta and --no-meta contradict each other")
    said: dict[str, Any] = {"priority": priority, "delay_ms": delay_ms, "run_at": run_at}
    if meta or no_meta:
        said["metadata"] = labels(meta)
    data = payload_file.read() if payload_file else None if payload is None else payload.encode()
    if data is not None:
        _set_payload(connection, job_ids, data, others=any(value is not None for value in said.values()))
        return
    if all(value is None for value in said.values()):
        raise click.UsageError("say what is to change: --priority, --delay, --at, --set-meta, --no-meta or --payload")

    async def change(client: "OsqueueClient", only_look: bool) -> "Changes":
        return await client.update_jobs(job_ids, matching=matching, dry_run=only_look, **said)

    _change(connection, change, bool(matching), "change {jobs}", as_json=as_json, dry_run=dry_run, yes=yes)


def _set_payload(connection: Connection, job_ids: tuple[str, ...], data: bytes, *, others: bool) -> None:
    if len(job_ids) != 1 or others:
        raise click.UsageError("--payload is about one job, and goes with no other change")
    changed = connection.run(lambda client: client.update_payload(job_ids[0], data))
    output.say(f"{changed.job_id} is ", output.coloured(changed.status or ""), ", with another payload")


def _which(job_ids: tuple[str, ...], everything: bool, filters: dict[str, Any]) -> "JobFilter | None":
    """The filter; None for jobs by their ids."""
    from osqueue.submission import job_filter

    by_filter = everything or bool(given(filters))
    if bool(job_ids) == by_filter:
        raise click.UsageError("say which: ids, or options such as --type, or --all")
    return job_filter(given(filters)) if by_filter else None


def _change(
    connection: Connection, change: Changing, by_filter: bool, what: str, *, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Change them; those that a filter chooses are counted and asked about first."""
    if by_filter and not (dry_run or yes):
        asking.require_somebody("changes them", "--dry-run says which")
        found = connection.run(lambda client: change(client, True))
        if found.changed:
            asking.confirm(what.format(jobs=output.plural(len(found.changed), "job")) + "?")
    changes = connection.run(lambda client: change(client, dry_run))
    refused = changes.refused
    if as_json:
        output.print_json(
            {
                "dryRun": dry_run,
                "changed": {change.job_id: change.status for change in changes.changed},
                "refused": {job_id: error.message for job_id, error in refused.items()},
            }
        )
    else:
        told = ", ".join(f"{count:,} {status}" for status, count in sorted(changes.by_status.items()))
        verb = "would be" if dry_run else "is" if len(changes.changed) == 1 else "are"
        output.say(f"{output.plural(len(changes.changed), 'job')} {verb} changed" + (f" ({told})" if told else ""))
        for job_id, error in refused.items():
            output.note(f"{job_id}: {error.message}")
    if refused:
        first = next(iter(refused.values()))
        raise Failure(f"{output.plural(len(refused), 'job')} unchanged", exit_of(first.tag, first.reason))

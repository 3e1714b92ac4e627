"""`osqueue purge`: finished jobs are removed for good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import exit_of
from osqueue_cli.failing import Failure
from osqueue_cli.filters import FINISHED, filter_options, given

if TYPE_CHECKING:
    from osqueue import OsqueueError
    from osqueue.job import JobFilter

REFUSALS_SHOWN = 10


@dataclass
class Purged:
    """What was removed, or would be, with the status that it had; and what was refused, and why."""

    jobs: dict[str, str] = field(default_factory=dict)
    refused: "dict[str, OsqueueError]" = field(default_factory=dict)

    @property
    def in_words(self) -> str:
        """How many, by status."""
        statuses = Counter(self.jobs.values())
        told = ", ".join(f"{statuses[status]:,} {status}" for status in FINISHED if statuses[status])
        return output.plural(len(self.jobs), "job") + (f" ({told})" if told else "")


@click.command(no_args_is_help=True)
@click.argument("job_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every finished job.")
@filter_options(FINISHED, help="Only those that ended like this; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connection_options
def purge(
    connection: Connection, as_json: bool, job_ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool,
    **filters: Any,
) -> None:  # fmt: skip
    """Remove finished jobs for good, with payload, result and history.

    What would be removed is counted first, and then asked about; a script must say --yes.
    A promised retention does not protect from it. Jobs that are not finished stay.

    \b
    Examples:
      osqueue purge 01J8... 01J9...
      osqueue purge --status dead --type email --error SmtpError
      osqueue purge --status completed --before 7d --yes
      osqueue purge --all --dry-run
    """
    from osqueue.submission import job_filter

    by_filter = everything or bool(given(filters))
    if bool(job_ids) == by_filter:
        raise click.UsageError("say which: ids, or options such as --status and --before, or --all")
    which = job_filter(given(filters)) if by_filter else job_ids
    if yes and not dry_run:
        _report(_run(connection, which), as_json=as_json)
        return
    found = _run(connection, which, dry_run=True)
    if dry_run or not found.jobs:
        _report(found, dry_run=True, as_json=as_json)
        return
    asking.require_somebody(f"removes {found.in_words} for good", "--dry-run says which")
    asking.confirm_many(f"remove {found.in_words} for good?", len(found.jobs))
    done = _run(connection, list(found.jobs))  # what was shown, and not what has finished since
    gone = [job_id for job_id, error in done.refused.items() if error.reason == "JOB_NOT_FOUND"]
    for job_id in gone:  # evicted in the meantime, which is what was wanted
        del done.refused[job_id]
    _report(Purged(done.jobs, {**found.refused, **done.refused}), as_json=as_json)


def _run(connection: Connection, which: "JobFilter | Sequence[str]", *, dry_run: bool = False) -> Purged:
    from osqueue.job import JobFilter

    ids, matching = ((), which) if isinstance(which, JobFilter) else (which, None)
    done = connection.run(lambda client: client.admin.purge(ids, matching=matching, dry_run=dry_run))
    return Purged({change.job_id: change.status or "" for change in done.changed}, done.refused)


def _report(purged: Purged, *, dry_run: bool = False, as_json: bool = False) -> None:
    if as_json:
        output.print_json(
            {
                "dryRun": dry_run,
                "purged": list(purged.jobs),
                "refused": {job_id: error.message for job_id, error in purged.refused.items()},
            }
        )
    else:
        would = "would be removed" if dry_run else "removed"
        output.say(f"{purged.in_words} {would}")
        if dry_run and purged.jobs:
            output.note("nothing was changed; --yes removes them")
        for job_id, error in list(purged.refused.items())[:REFUSALS_SHOWN]:
            output.note(f"{job_id}: {error.message}")
    if purged.refused:
        first = next(iter(purged.refused.values()))
        unchanged = f"{output.plural(len(purged.refused), 'job')} unchanged"
        raise Failure(unchanged, exit_of(first.tag, first.reason), tag=first.tag, reason=first.reason)

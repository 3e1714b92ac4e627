"""`osqueue schedules`: jobs that are submitted when their time comes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from osqueue_cli import output
from osqueue_cli.commands.submit import _TERMS, asked, payload_of, submit
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.params import DURATION, FUTURE, PAST
from osqueue_cli.schedule_view import print_schedule, print_times, row
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient, ScheduleInfo

C = TypeVar("C", bound=Callable[..., Any])

HEAD = ["SCHEDULE", "WHEN", "STATE", "NEXT", "FIRED", "SKIPPED", "MISSED", "TYPE"]

_NOT_OF_TEMPLATES = {
    "lines",
    "key",
    "delay_ms",
    "run_at",
    "wait",
    "wait_limit",
    "ids",
    "unique",
    "batch_id",
    *_TERMS.values(),
}
"""What `submit` offers for one job, and a template cannot have."""

_WHEN = (
    click.option("--cron", metavar="EXPRESSION", help='Five fields, such as "0 9 * * MON-FRI", or @daily.'),
    click.option("--tz", "time_zone", metavar="ZONE", help="Time zone of --cron, e.g. Europe/Berlin.  [default: UTC]"),
    click.option("--dst-gap", type=click.Choice(["after", "skip"]), help="A time that the clocks leave out."),
    click.option(
        "--dst-repeat", type=click.Choice(["first", "second", "both"]), help="A time that the clocks show twice."
    ),
    click.option("--every", "every_ms", type=DURATION, help="Instead of --cron: an interval, e.g. 30s or 6h."),
    click.option("--anchor", "anchor_at", type=FUTURE, help="Count the intervals from this moment."),
    click.option("--jitter", "jitter_ms", type=DURATION, help="Put each time off by less than this."),
    click.option("--start", "start_at", type=FUTURE, help="No time before this moment."),
    click.option("--end", "end_at", type=FUTURE, help="No time after this moment."),
    click.option("--max-fires", type=click.IntRange(1), help="How many times fire."),
    click.option(
        "--overlap", type=click.Choice(["skip", "allow_all", "buffer_one", "buffer_all", "cancel_other"]),
        help="While the last job has not ended.  [default: skip]",
    ),
    click.option(
        "--missed", type=click.Choice(["latest", "all", "none"]),
        help="Of times that are due together.  [default: latest]",
    ),
    click.option("--catchup", "catchup_window_ms", type=DURATION, help="A time older than this is missed."),
    click.option("--pause-after-dead", type=click.IntRange(1), help="Pause it after this many deaths in a row."),
)  # fmt: skip


def _when(command: C) -> C:
    for option in reversed(_WHEN):
        command = option(command)
    return command


def _given(options: dict[str, Any]) -> Any:
    return {name: value for name, value in options.items() if value is not None}


@click.group()
def schedules() -> None:
    """Jobs with a timetable: put, list, show, preview, trigger.

    \b
    Examples:
      osqueue schedules put nightly report '{"of": "sales"}' --cron "0 2 * * *" --tz Europe/Berlin
      osqueue schedules preview --cron "30 2 * * *" --tz America/New_York
      osqueue schedules show nightly
    """


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@click.argument("job_type", metavar="TYPE")
@click.argument("payload", default=None, required=False)
@_when
@click.option("--revision", type=click.IntRange(0), help="Only if it has this revision now; 0: only if there is none.")
@connection_options
def put(
    connection: Connection, as_json: bool, schedule_id: str, job_type: str, payload: str | None, file: BinaryIO | None,
    backoff: int | None, meta: tuple[tuple[str, str], ...], revision: int | None, **options: Any,
) -> None:  # fmt: skip
    """Make a schedule, or let one be different from now on.

    TYPE, PAYLOAD and the options of `osqueue submit` say which job it submits; what is not given is
    the default, not what it was before. Its next times are printed.

    \b
    Examples:
      osqueue schedules put nightly report '{"of": "sales"}' --cron "0 2 * * *" --tz Europe/Berlin
      osqueue schedules put ping check '{}' --every 30s --overlap allow_all
    """
    from osqueue import new_job

    if (payload is None) == (file is None):
        raise click.UsageError("give the payload as an argument or with --file")
    when = _given({name: options.pop(name) for name in _NAMES})
    job = new_job(job_type, payload_of(payload, file), **asked(backoff, meta, options))
    info = connection.run(lambda client: client.schedules.put(schedule_id, job, revision=revision, **when))
    print_schedule(info, as_json=as_json, brief=True)


_NAMES = [parameter.name for parameter in put.params if parameter.name in {
    "cron", "time_zone", "dst_gap", "dst_repeat", "every_ms", "anchor_at", "jitter_ms", "start_at", "end_at",
    "max_fires", "overlap", "missed", "catchup_window_ms", "pause_after_dead",
}]  # fmt: skip
put.params += [
    parameter
    for parameter in submit.params
    if isinstance(parameter, click.Option)
    and parameter.name not in _NOT_OF_TEMPLATES | {known.name for known in put.params}
]


@schedules.command("list")
@click.argument("prefix", default="")
@click.option(
    "-s",
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["active", "paused", "ended", "broken"]),
    help="Only in this state; repeatable.",
)
@connection_options
def list_schedules(connection: Connection, as_json: bool, prefix: str, states: tuple[Any, ...]) -> None:
    """List the schedules whose id begins with PREFIX."""

    async def listed(client: "OsqueueClient") -> "list[ScheduleInfo]":
        return [each async for each in client.schedules.list(prefix=prefix, states=states)]

    found = connection.run(listed)
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(HEAD, [row(each) for each in found])
    else:
        output.note("no schedule matches")


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@connection_options
def show(connection: Connection, as_json: bool, schedule_id: str) -> None:
    """Show a schedule: its next times, what became of the last ones, and why it does not fire."""
    print_schedule(connection.run(lambda client: client.schedules.get(schedule_id)), as_json=as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID", default="")
@_when
@click.option("-n", "--count", type=click.IntRange(1, 100), default=5, show_default=True, help="How many times.")
@click.option("--after", type=FUTURE, default=0, help="Times after this moment.  [default: now]")
@connection_options
def preview(connection: Connection, as_json: bool, schedule_id: str, count: int, after: int, **options: Any) -> None:
    """Say when a schedule fires: the one of this ID, or one with these options. Changes nothing."""
    when = _given(options)
    if bool(schedule_id) == bool(when):
        raise click.UsageError("name a schedule, or say when with --cron or --every")
    times = connection.run(lambda client: client.schedules.preview(schedule_id, after=after, count=count, **when))
    if as_json:
        for each in times:
            output.print_json_line(to_json(each))
    else:
        print_times(times)


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@click.option("--reason", default="", help="Why, for those who look at it.")
@connection_options
def pause(connection: Connection, as_json: bool, schedule_id: str, reason: str) -> None:
    """Let a schedule not fire until it is resumed."""
    info = connection.run(lambda client: client.schedules.pause(schedule_id, reason))
    print_schedule(info, as_json=as_json, brief=True)


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@connection_options
def resume(connection: Connection, as_json: bool, schedule_id: str) -> None:
    """Let a schedule fire again. Times that passed meanwhile are not missed."""
    info = connection.run(lambda client: client.schedules.resume(schedule_id))
    print_schedule(info, as_json=as_json, brief=True)


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@connection_options
def trigger(connection: Connection, as_json: bool, schedule_id: str) -> None:
    """Submit a job of a schedule now, besides its times; prints the job's id."""
    job_id = connection.run(lambda client: client.schedules.trigger(schedule_id))
    if as_json:
        output.print_json({"jobId": job_id})
    else:
        output.say(job_id)


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@click.option("--from", "first_at", type=PAST, required=True, help="Begin of the span: 2d, 2026-01-31T09:00.")
@click.option("--to", "end_at", type=PAST, required=True, help="End of the span, not in it.")
@connection_options
def backfill(connection: Connection, as_json: bool, schedule_id: str, first_at: int, end_at: int) -> None:
    """Submit a job for each time of a span that has passed, at most 1,000, whatever became of them before."""
    jobs = connection.run(lambda client: client.schedules.backfill(schedule_id, first_at, end_at))
    if as_json:
        for job in jobs:
            output.print_json_line(to_json(job))
    else:
        for job in jobs:
            output.say(job.job_id)
        output.note(f"{output.plural(len(jobs), 'job')} submitted")


@schedules.command(no_args_is_help=True)
@click.argument("schedule_id", metavar="ID")
@connection_options
def delete(connection: Connection, as_json: bool, schedule_id: str) -> None:
    """Remove a schedule. The jobs that it made stay."""
    deleted = connection.run(lambda client: client.schedules.delete(schedule_id))
    if as_json:
        output.print_json({"deleted": deleted})
    else:
        output.say(f"{schedule_id} was deleted" if deleted else f"there is no schedule {schedule_id}")

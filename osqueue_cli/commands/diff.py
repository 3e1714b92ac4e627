"""`osqueue diff`: which jobs differ between two queues, or between two moments of one."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import PAST
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.storage import (
    beside,
    lasting_settings,
    opened,
    queue_objects,
    read_queue,
    read_queue_at,
    rebuild_of,
    stored_queue_option,
)
from osqueue_cli.stored_jobs import job_json
from osqueue_service.config import Settings

Kind = Literal["removed", "added", "changed"]
KINDS: tuple[Kind, ...] = ("removed", "added", "changed")
SIGNS = {"removed": "-", "added": "+", "changed": "~"}
NOW = "now"

Jobs = dict[str, dict[str, Any]]


class Difference(NamedTuple):
    """One job that is not the same in both; `before` or `after` is None where it is not there."""

    kind: Kind
    job_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def fields(self) -> list[str]:
        """What changed in it."""
        if self.before is None or self.after is None:
            return []
        names = sorted(self.before.keys() | self.after.keys())
        return [name for name in names if self.before.get(name) != self.after.get(name)]


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--only", type=click.Choice(KINDS), help="Of the differences, only these.")
@click.option("--type", "job_type", help="Only jobs of this type.")
@click.option("--payloads", is_flag=True, help="Write their payloads alone, a line each, for `submit --lines`.")
@stored_queue_option
@settings_options(storage_default="file", only=storage_flags())
@json_option
def diff(
    a: str, b: str, only: Kind | None, job_type: str | None, payloads: bool, queue: str, as_json: bool,
    overrides: Mapping[str, str],
) -> None:  # fmt: skip
    """Say which jobs differ between A and B.

    Each is a moment of the queue (2030-01-31T12:03, 2h for two hours ago, or now), or
    another place: a directory, or a prefix in the same bucket. A directory that is called
    like a moment is written ./2h. Nothing is written; brokers may go on working.

    \b
    Examples:
      osqueue diff 2030-01-31T12:02:59 now
      osqueue diff 10m now --only removed --json      a line of JSON for each job
      osqueue diff 10m now --only removed --type mail --payloads | osqueue submit mail --lines -
      osqueue diff osqueue-data backup-2030-01-31
    """
    settings = lasting_settings(overrides)
    before, after = (asyncio.run(_jobs(settings, side, queue, job_type)) for side in (a, b))
    counts = dict.fromkeys(KINDS, 0)
    for each in _differences(before, after):
        counts[each.kind] += 1
        if only not in (None, each.kind):
            continue
        if payloads:
            _show_payload(each)
        else:
            _show(each, as_json)
    if not as_json:
        same = len(before) - counts["removed"] - counts["changed"]
        output.note(
            f"{counts['removed']:,} only in {a}, {counts['added']:,} only in {b}, {counts['changed']:,} changed, "
            f"{same:,} equal"
        )


async def _jobs(settings: Settings, side: str, queue: str, job_type: str | None) -> Jobs:
    """The jobs of one side, of one type or of all, by their ids."""
    at_ms = None if side == NOW else _moment(side)
    async with opened(settings if side == NOW or at_ms is not None else beside(settings, side)) as whole:
        settler = await queue_objects(whole, queue)
        rebuild = rebuild_of(settler)
        if at_ms is None:
            await read_queue(settler, rebuild)
        else:
            await read_queue_at(settler, rebuild, at_ms)
    state = rebuild.state
    chosen = (job for job in state.jobs.values() if job_type in (None, job.spec.type))
    return {state.job_id(job): job_json(state, job) for job in chosen}


def _moment(side: str) -> int | None:
    try:
        return PAST.convert(side, None, None)
    except click.BadParameter:
        return None


def _differences(before: Jobs, after: Jobs) -> Iterator[Difference]:
    for job_id, job in before.items():
        if job_id not in after:
            yield Difference("removed", job_id, job, None)
        elif after[job_id] != job:
            yield Difference("changed", job_id, job, after[job_id])
    for job_id, job in after.items():
        if job_id not in before:
            yield Difference("added", job_id, None, job)


def _show_payload(each: Difference) -> None:
    job = each.before or each.after or {}
    if "payload" not in job:
        raise Failure(
            f"the payload of job {each.job_id} is not JSON, and has no line: leave out --payloads", Exit.FAILED
        )
    output.print_json_line(job["payload"])


def _show(each: Difference, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {"change": each.kind, "jobId": each.job_id}
        shown |= {name: job for name, job in (("before", each.before), ("after", each.after)) if job is not None}
        output.print_json_line(shown | ({"fields": each.fields} if each.fields else {}))
        return
    job = each.after or each.before or {}
    told = output.coloured(job["status"])
    if each.before and each.after and each.before["status"] != each.after["status"]:
        told = output.joined(output.coloured(each.before["status"]), " → ", told)
    fields = [name for name in each.fields if name != "status"]
    rest = f"  ({', '.join(fields)})" if fields else ""
    output.say(f"{SIGNS[each.kind]} {each.job_id}  {job.get('type', '')}  ", told, rest)

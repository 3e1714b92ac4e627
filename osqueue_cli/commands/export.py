"""`osqueue export`: the way back to the first osqueue, whose whole queue is one `queue.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from osqueue_cli import output
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.storage import leader_of, look, queue_objects, read_queue, rebuild_of, stored_queue_option
from osqueue_service.log import Settler
from osqueue_service.state.model import Job, Status
from osqueue_service.state.seed_shape import is_json, seed_job
from osqueue_service.state.state import State


class Export(NamedTuple):
    """What the file holds, and what it cannot hold: how many jobs, by why."""

    document: dict[str, Any]
    left_out: dict[str, int]
    leader: str


@click.command()
@click.option(
    "--to", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
@click.option("--early", is_flag=True, help="Let scheduled jobs wait from now on: the first osqueue knows no later.")
@click.option("--partial", is_flag=True, help="Leave out what the file cannot hold.")
@stored_queue_option
@settings_options(storage_default="file", only=storage_flags())
def export(target: Path, early: bool, partial: bool, queue: str, overrides: Mapping[str, str]) -> None:
    """Write the live jobs for the first osqueue.

    That one (in TypeScript) keeps its whole queue in one queue.json. For the way back:
    stop all brokers, export, put the file where that broker looks for its queue.json,
    and start it. Jobs keep their ids, types, payloads, attempts and order; those that
    run keep their worker. Nothing is written to the queue itself. Finished jobs are not
    part of that format. What else it cannot hold is named, and the file is written only
    with --early or --partial.

    \b
    Examples:
      osqueue export --to queue.json
      osqueue export --to queue.json --early --storage-backend s3 --s3-bucket jobs
    """
    if target.exists():
        raise Failure(f"{target} is there already: name another file, or move it away", Exit.CONFLICT)
    found = look(overrides, lambda settler: _read(settler, queue, early))
    if found.leader:
        raise Failure(
            f"{found.leader} leads this queue: stop all its brokers first, or what happens from now on is not exported",
            Exit.CONFLICT,
        )
    if found.left_out and not partial:
        what = "; ".join(f"{output.plural(count, 'job')}: {why}" for why, count in found.left_out.items())
        raise Failure(f"the first osqueue's format cannot hold {what}. --partial leaves them out", Exit.FAILED)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(found.document), indent=2) + b"\n")
    output.note(f"wrote {output.plural(len(found.document['jobs']), 'job')} to {target}")
    for why, count in found.left_out.items():
        output.note(f"left out {output.plural(count, 'job')}: {why}")


async def _read(whole: Settler, queue: str, early: bool) -> Export:
    settler = await queue_objects(whole, queue)
    rebuild = rebuild_of(settler)
    reading = await read_queue(settler, rebuild)
    return _exported(rebuild.state, early, await leader_of(settler, reading))


def _exported(state: State, early: bool, leader: str) -> Export:
    jobs, left_out = [], dict[str, int]()
    for job in sorted(state.jobs.values(), key=_order):
        if job.status.finished:
            continue
        why = _obstacle(job, early)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
            continue
        shown = seed_job(state, job)
        if job.status is Status.SCHEDULED:
            shown["status"] = Status.UNCLAIMED.wire
        jobs.append(shown)
    document = {
        "jobs": jobs,
        "broker": None,
        "brokerHeartbeat": 0,
        "completedTotal": state.counters.completed,
    }
    return Export(document, left_out, leader)


def _order(job: Job) -> tuple[int, int]:
    """The order of claims across types: that queue has one line, and no priorities."""
    return -job.spec.priority, job.place


def _obstacle(job: Job, early: bool) -> str:
    """Why the file cannot hold a live job; "" when it can."""
    if not is_json(job.spec.payload):
        return "its payload is not JSON"
    if job.status is Status.SCHEDULED and not early:
        return "scheduled for later (--early lets it wait from now on)"
    if job.status is Status.BLOCKED:
        return "blocked by other jobs"
    return ""

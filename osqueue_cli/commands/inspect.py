"""`osqueue inspect`: the queue as it lies in the store, without a broker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import PAST
from osqueue_cli.records import object_json, struct_json
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.shapes import bytes_members
from osqueue_cli.storage import (
    leader_of,
    look,
    queue_objects,
    read_queue,
    read_queue_at,
    rebuild_of,
    stored_queue_option,
)
from osqueue_cli.stored_jobs import job_json
from osqueue_service.errors import CorruptObject
from osqueue_service.log import Root, Settler
from osqueue_service.log.paths import ROOT, parse_checkpoint_key, parse_segment_key, segment_key
from osqueue_service.log.reader import Reader
from osqueue_service.log.segment import decode
from osqueue_service.state.model import Status

T = TypeVar("T")

PAGE_KEYS = 1_000


@click.command()
@click.argument("key", required=False)
@click.option("--list", "listing", is_flag=True, help="List the keys of all objects; KEY is then what they begin with.")
@click.option("--jobs", is_flag=True, help="Write every job as a line of JSON.")
@click.option(
    "--salvage", is_flag=True, help="With --jobs: of a damaged queue, what can be read before the first damage."
)
@click.option("--at", "at_ms", type=PAST, help="As it was then, e.g. 2030-01-31T12:03 or 2h ago.")
@stored_queue_option
@settings_options(storage_default="file", only=storage_flags())
@json_option
def inspect(
    key: str | None, listing: bool, jobs: bool, salvage: bool, at_ms: int | None, queue: str, as_json: bool,
    overrides: Mapping[str, str],
) -> None:  # fmt: skip
    """Show the queue as it lies in the store.

    No broker is needed, and none is disturbed. Without KEY: a summary. With KEY: that
    object as JSON, every record of it. EPOCH/SEQUENCE is short for the key of a segment.

    \b
    Examples:
      osqueue inspect                             the queue in ./osqueue-data
      osqueue inspect --data-dir /var/lib/osqueue queue.json
      osqueue inspect 3/1207                      commit 1207, in the lane of epoch 3
      osqueue inspect --list log/
      osqueue inspect --jobs | jq 'select(.status == "dead")'
      osqueue inspect --queue emails              a queue with a name, beside the default one
      osqueue inspect --at 2h                     as it was two hours ago, if that is kept
      osqueue inspect --storage-backend s3 --s3-bucket jobs
    """
    if salvage and not jobs:
        raise click.UsageError("--salvage is about jobs: add --jobs")
    if at_ms is not None and (salvage or listing or key is not None):
        raise click.UsageError("--at is about the whole queue: leave out KEY, --list and --salvage")

    def look_into(work: Callable[[Settler], Awaitable[T]]) -> T:
        async def chosen(settler: Settler) -> T:
            return await work(await queue_objects(settler, queue))

        return look(overrides, chosen)

    if listing:
        look_into(lambda settler: _list(settler, key or ""))
    elif key is not None:
        output.print_json(look_into(lambda settler: _object(settler, _full_key(key))))
    elif jobs:
        look_into(lambda settler: _print_jobs(settler, salvage, at_ms))
    else:
        summary = look_into(lambda settler: _summary_at(settler, at_ms) if at_ms else _summary(settler))
        summary |= {"queue": queue} if queue else {}
        if as_json:
            output.print_json(summary)
        else:
            _print_summary(summary)


def _full_key(key: str) -> str:
    epoch, slash, sequence = key.partition("/")
    return segment_key(int(epoch), int(sequence)) if slash and epoch.isdigit() and sequence.isdigit() else key


async def _list(settler: Settler, prefix: str) -> None:
    async for key in _keys(settler, prefix):
        output.say(key)


async def _keys(settler: Settler, prefix: str) -> AsyncIterator[str]:
    after = ""
    while page := await settler.list_after(prefix, after, PAGE_KEYS):
        for key in page:
            yield key
        after = page[-1]


async def _object(settler: Settler, key: str) -> dict[str, Any]:
    found = await settler.read(key)
    if found is None:
        raise Failure(f"there is no object {key!r} in {settler.store.description}", Exit.NOT_FOUND)
    body = found.body
    if key == ROOT:
        return {"key": key, "bytes": len(body), **bytes_members("root", body)}
    if parse_segment_key(key) is not None:
        return object_json(key, len(body), decode(key, body))
    part = parse_checkpoint_key(key)
    if part is None:
        return {"key": key, "bytes": len(body), **bytes_members("content", body)}
    root = await Reader(settler).root()
    ref = root.checkpoint if isinstance(root, Root) else None
    vouched = ref is not None and (ref.sequence, ref.epoch) == (part.sequence, part.epoch)
    return {"key": key, "kind": "checkpoint", "bytes": len(body), **part._asdict(), "vouchedForByRoot": vouched}


async def _summary(settler: Settler) -> dict[str, Any]:
    rebuild = rebuild_of(settler)
    reading = await read_queue(settler, rebuild)
    root, state = reading.root, rebuild.state
    return {
        "store": settler.store.description,
        "format": root.format,
        "epoch": root.epoch,
        "leader": await leader_of(settler, reading) or None,
        "incarnation": root.incarnation,
        "rootWrittenAt": root.broker_heartbeat,
        "checkpoint": msgspec.to_builtins(root.checkpoint),
        "log": {
            "lane": reading.position.lane,
            "sequence": reading.position.sequence,
            "segmentsSinceCheckpoint": reading.segments,
            "fencesSinceCheckpoint": reading.fences,
        },
        "jobs": {status.wire: state.count(status) for status in Status},
        "totals": struct_json(state.counters),
        "lastChangeAt": state.stamp_ms,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    store = {"store": summary["store"], **({"queue": summary["queue"]} if "queue" in summary else {})}
    if "at" in summary:
        output.print_fields(
            {
                **store,
                "as it was": output.timestamp(summary["at"]),
                "log": f"up to commit {summary['log']['sequence']:,} in lane {summary['log']['lane']}",
                "jobs": _counts(summary),
                "last change": output.timestamp(summary["lastChangeAt"]),
            }
        )
        return
    checkpoint, log = summary["checkpoint"], summary["log"]
    size = f", {output.size(checkpoint['size'])}" if checkpoint.get("size") else ""
    output.print_fields(
        {
            **store,
            "epoch": summary["epoch"],
            "leader": summary["leader"] or "nobody: the last one handed over, or none has led yet",
            "root written": f"{output.timestamp(summary['rootWrittenAt'])} ({output.since(summary['rootWrittenAt'])})",
            "checkpoint": f"commit {checkpoint['sequence']:,} ({checkpoint['form']}{size})",
            "log": f"up to commit {log['sequence']:,} in lane {log['lane']}; since the checkpoint "
            f"{output.plural(log['segmentsSinceCheckpoint'], 'segment')} and "
            f"{output.plural(log['fencesSinceCheckpoint'], 'fence')}",
            "jobs": _counts(summary),
            "last change": f"{output.timestamp(summary['lastChangeAt'])} ({output.since(summary['lastChangeAt'])})",
        }
    )


def _counts(summary: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in summary["jobs"].items())


async def _summary_at(settler: Settler, at_ms: int) -> dict[str, Any]:
    rebuild = rebuild_of(settler)
    past = await read_queue_at(settler, rebuild, at_ms)
    state = rebuild.state
    return {
        "store": settler.store.description,
        "at": at_ms,
        "log": {"lane": past.position.lane, "sequence": past.position.sequence},
        "jobs": {status.wire: state.count(status) for status in Status},
        "totals": struct_json(state.counters),
        "lastChangeAt": state.stamp_ms,
    }


async def _print_jobs(settler: Settler, salvage: bool, at_ms: int | None) -> None:
    rebuild = rebuild_of(settler)
    damage: CorruptObject | None = None
    try:
        if at_ms is None:
            await read_queue(settler, rebuild)
        else:
            await read_queue_at(settler, rebuild, at_ms)
    except CorruptObject as corrupt:
        if not salvage:
            raise
        damage = corrupt
    state = rebuild.state
    for job in state.jobs.values():
        output.print_json_line(job_json(state, job))
    if damage is not None:
        raise Failure(f"these are the jobs as they were before the damage: {damage}", Exit.FAILED)

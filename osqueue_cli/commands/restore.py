"""`osqueue restore`: the queue as it was, as a queue of its own."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import PAST
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.storage import beside, lasting_settings, opened, read_queue, read_queue_at
from osqueue_service.config import Settings
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.engine.restored import write_restored
from osqueue_service.log import Settler
from osqueue_service.log.reader import Reader
from osqueue_service.log.root import Root
from osqueue_service.log.verification import verify
from osqueue_service.state import image
from osqueue_service.state.invariants import InvariantBroken, check
from osqueue_service.state.model import Status
from osqueue_service.state.state import State


@click.command()
@click.option("--at", "at_ms", required=True, type=PAST, help="The moment, e.g. 2030-01-31T12:03:00, or 2h ago.")
@click.option(
    "--to", "place", required=True, metavar="PLACE", help="A new directory, or a new prefix in the same bucket."
)
@settings_options(storage_default="file", only=storage_flags())
@json_option
def restore(at_ms: int, place: str, as_json: bool, overrides: Mapping[str, str]) -> None:
    """Build the queue as it was at a moment, at another place.

    Every commit made up to that moment is in it, and none after. The queue itself is
    only read: brokers may go on working. How far back this reaches is what LOG_RETENTION
    said while they worked. What was written is read again and compared.

    \b
    Examples:
      osqueue restore --at 2030-01-31T12:02:59 --to osqueue-data-1202
      osqueue restore --at 10m --to prod-before/ --storage-backend s3 --s3-bucket jobs --s3-prefix prod/
    """
    settings = lasting_settings(overrides)
    target = beside(settings, place)
    state, result = asyncio.run(_restore(settings, target, at_ms))
    result["jobs"] = {status.wire: state.count(status) for status in Status}
    if as_json:
        output.print_json(result)
        return
    output.print_fields(
        {
            "from": result["from"],
            "to": result["to"],
            "as it was": output.timestamp(at_ms),
            "last commit": f"{result['sequence']:,}, of {output.timestamp(result['lastChangeAt'])}",
            "jobs": ", ".join(f"{count:,} {status}" for status, count in result["jobs"].items()),
            "verdict": output.styled("sound, and equal to what it was", fg="green", bold=True),
        }
    )


async def _restore(settings: Settings, target: Settings, at_ms: int) -> tuple[State, dict[str, Any]]:
    rebuild = Rebuild()
    async with opened(settings) as source:
        past = await read_queue_at(source, rebuild, at_ms)
        now = await Reader(source).root()
        where = source.store.description
    # The features in use now: those of then are among them.
    needs = now.needs if isinstance(now, Root) else past.root.needs
    state = rebuild.state
    async with opened(target, read_only=False) as settler:
        await write_restored(settler, past, needs, state)
        await _compare(settler, state)
        return state, {
            "from": where,
            "to": settler.store.description,
            "at": at_ms,
            "sequence": past.position.sequence,
            "lastChangeAt": past.stamp_ms,
        }


async def _compare(settler: Settler, state: State) -> None:
    """Read what was written as a broker would, and hold it against what was meant."""
    again = Rebuild()
    report = await verify(settler, again, again.understood)
    wrong = "; ".join(f"{found.key}: {found.problem}" for found in report.findings)
    if not wrong:
        await read_queue(settler, again)
        try:
            check(again.state)
        except InvariantBroken as broken:
            wrong = f"the state contradicts itself: {broken}; please report this bug"
    if not wrong and image.encode(again.state) != image.encode(state):
        wrong = "what was read again differs from what was written"
    if wrong:
        raise Failure(f"{settler.store.description} is not what it should be, do not use it: {wrong}", Exit.FAILED)

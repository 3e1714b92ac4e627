"""`osqueue verify`: is everything there, and is it what it must be?"""

from collections.abc import Mapping
from typing import Any

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.storage import look
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.log import Settler
from osqueue_service.log.verification import Report
from osqueue_service.log.verification import verify as verify_log
from osqueue_service.state.invariants import InvariantBroken, check
from osqueue_service.state.state import State


@click.command()
@settings_options(storage_default="file", only=storage_flags())
@json_option
def verify(as_json: bool, overrides: Mapping[str, str]) -> None:
    """Check every object of the queue.

    Looks at checksums, the chain of the log, checkpoints and counts. It writes nothing;
    brokers may go on working. Exit code 0: sound, 1: something is wrong, and the output
    says what to do.

    \b
    Examples:
      osqueue verify
      osqueue verify --storage-backend s3 --s3-bucket jobs --s3-prefix prod/
    """
    report, state, where = look(overrides, _verify)
    if report.reading is None and report.seed is None and not report.findings:
        raise Failure(f"there is no queue in {where}", Exit.NOT_FOUND)
    broken = _contradiction(state) if report.reading is not None else ""
    if as_json:
        output.print_json(_json(report, broken, where))
    else:
        _print(report, broken, where)
    if broken or not report.sound:
        raise Failure("the queue is not sound; see above", Exit.FAILED)


async def _verify(settler: Settler) -> tuple[Report, State, str]:
    rebuild = Rebuild()
    return await verify_log(settler, rebuild, rebuild.understood), rebuild.state, settler.store.description


def _contradiction(state: State) -> str:
    """What does not add up in the state, if anything."""
    try:
        check(state)
    except InvariantBroken as broken:
        return str(broken)
    return ""


def _json(report: Report, broken: str, where: str) -> dict[str, Any]:
    reading = report.reading
    return {
        "store": where,
        "sound": report.sound and not broken,
        "epoch": reading.root.epoch if reading else None,
        "sequence": reading.position.sequence if reading else None,
        "segments": reading.segments if reading else 0,
        "objects": report.objects,
        "fences": report.fences,
        "leftovers": report.leftovers,
        "kept": report.kept,
        "restorePoints": len(report.restore_points),
        "findings": [
            {"severity": found.severity, "key": found.key, "problem": found.problem} for found in report.findings
        ],
        "findingsDropped": report.findings_dropped,
        "contradiction": broken,
    }


def _print(report: Report, broken: str, where: str) -> None:
    colours = {"error": "red", "warning": "yellow"}
    for found in report.findings:
        output.say(output.styled(found.severity, fg=colours[found.severity]), f"  {found.key}: {found.problem}")
    if report.findings_dropped:
        output.note(f"and {report.findings_dropped:,} more")
    if broken:
        told = f"  the state contradicts itself: {broken}; please report this bug"
        output.say(output.styled("error", fg="red"), told)
    reading = report.reading
    fields = {"store": where, "objects": f"{report.objects:,} beside queue.json"}
    if reading is not None:
        fields["log"] = (
            f"epoch {reading.root.epoch}, up to commit {reading.position.sequence:,}; "
            f"{output.plural(reading.segments, 'segment')} read since the checkpoint"
        )
    if report.restore_points:
        since = output.timestamp(report.restore_points[0].kept_at_ms)
        fields["kept"] = f"{report.kept:,}: the way back in time, to {since} and a little further"
    if report.leftovers:
        fields["leftovers"] = f"{report.leftovers:,} that a clean-up will remove; harmless"
    if report.sound and not broken:
        fields["verdict"] = output.styled("sound", fg="green", bold=True)
    output.print_fields(fields)

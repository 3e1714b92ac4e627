"""`osqueue verify`: is everything there, and is it what it must be?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.settings import settings_options, storage_flags
from osqueue_cli.storage import look, objects_of, queue_objects, rebuild_of, stored_queue_option
from osqueue_service.errors import CorruptObject
from osqueue_service.log import Settler
from osqueue_service.log.paths import ROOT
from osqueue_service.log.verification import Finding, Report
from osqueue_service.log.verification import verify as verify_log
from osqueue_service.queues.catalogue import Catalogue
from osqueue_service.queues.queue_store import QueueStore, root_key
from osqueue_service.state.invariants import InvariantBroken, check
from osqueue_service.state.state import State


class Verified(NamedTuple):
    """What was found of one queue; `name` is "" for the default one."""

    name: str
    report: Report
    broken: str
    """What does not add up in its state, if anything."""

    @property
    def sound(self) -> bool:
        return self.report.sound and not self.broken

    @property
    def there(self) -> bool:
        """Whether there is a queue, sound or not."""
        report = self.report
        return report.reading is not None or report.seed is not None or bool(report.findings)


@click.command()
@stored_queue_option
@settings_options(storage_default="file", only=storage_flags())
@json_option
def verify(queue: str, as_json: bool, overrides: Mapping[str, str]) -> None:
    """Check every object of the queue.

    Looks at checksums, the chain of the log, checkpoints and counts, of the default queue
    and of every queue with a name, or of one with --queue. It writes nothing; brokers may
    go on working. Exit code 0: sound, 1: something is wrong, and the output says what to do.

    \b
    Examples:
      osqueue verify
      osqueue verify --queue emails
      osqueue verify --storage-backend s3 --s3-bucket jobs --s3-prefix prod/
    """
    found, where = look(overrides, lambda settler: _verify(settler, queue))
    if not any(each.there for each in found):
        raise Failure(f"there is no queue in {where}", Exit.NOT_FOUND)
    unsound = [each for each in found if not each.sound]
    if as_json:
        output.print_json(_all_json(found, where))
    else:
        for each in found:
            _print(each, where)
    if unsound:
        which = ", ".join(each.name or "the default queue" for each in unsound)
        what = f"of {len(found):,} queues, these are not sound: {which}" if len(found) > 1 else "the queue is not sound"
        raise Failure(f"{what}; see above", Exit.FAILED)


async def _verify(settler: Settler, queue: str) -> tuple[list[Verified], str]:
    """What there is to say of the queue of this name, or of all for ""; the default queue first."""
    where = settler.store.description
    if queue:
        return [await _verify_one(await queue_objects(settler, queue), queue)], where
    found = [await _verify_one(settler, "")]
    catalogue = Catalogue(settler)
    async for name in catalogue.names():
        named = await _verify_named(settler, catalogue, name)
        if named is not None:
            found.append(named)
    return found, where


async def _verify_named(settler: Settler, catalogue: Catalogue, name: str) -> Verified | None:
    """None for a queue that is deleted, or was while it was looked at: what is left of it is nobody's."""
    while True:
        try:
            listed = await catalogue.find(name)
            if listed is None or listed.settings.deleted:
                return None
            verified = await _verify_one(objects_of(settler, listed), name)
            if verified.sound:
                return verified
            now = await catalogue.find(name)
        except CorruptObject as corrupt:
            report = Report()
            report.findings.append(Finding("error", corrupt.key, corrupt.problem))
            return Verified(name, report, "")
        if now is not None and now.root.uid == listed.root.uid and not now.settings.deleted:
            return verified


async def _verify_one(settler: Settler, name: str) -> Verified:
    rebuild = rebuild_of(settler)
    report = await verify_log(settler, rebuild, rebuild.understood)
    store = settler.store
    if isinstance(store, QueueStore):
        report.findings = [replace(each, key=store.key(each.key)) for each in report.findings]
    return Verified(name, report, _contradiction(rebuild.state) if report.reading is not None else "")


def _contradiction(state: State) -> str:
    """What does not add up in the state, if anything."""
    try:
        check(state)
    except InvariantBroken as broken:
        return str(broken)
    return ""


def _all_json(found: list[Verified], where: str) -> dict[str, Any]:
    first, *others = found
    shown = _json(first, where)
    if others:
        shown["sound"] = all(each.sound for each in found)
        shown["queues"] = [_json(each, where) for each in others]
    return shown


def _json(verified: Verified, where: str) -> dict[str, Any]:
    _, report, broken = verified
    reading = report.reading
    return {
        "store": where,
        "queue": verified.name,
        "sound": verified.sound,
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


def _print(verified: Verified, where: str) -> None:
    name, report, broken = verified
    colours = {"error": "red", "warning": "yellow"}
    for found in report.findings:
        output.say(output.styled(found.severity, fg=colours[found.severity]), f"  {found.key}: {found.problem}")
    if report.findings_dropped:
        output.note(f"and {report.findings_dropped:,} more")
    if broken:
        told = f"  the state contradicts itself: {broken}; please report this bug"
        output.say(output.styled("error", fg="red"), told)
    reading = report.reading
    fields = {"queue": name} if name else {"store": where}
    fields["objects"] = f"{report.objects:,} beside {root_key(name) if name else ROOT}"
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
    if verified.sound:
        fields["verdict"] = output.styled("sound", fg="green", bold=True)
    output.print_fields(fields)

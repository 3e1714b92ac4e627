"""The end of the demo: what happened, in lines that are honest and pleasant to read."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

import click

from osqueue_cli import output
from osqueue_cli.demo.outcome import Outcome
from osqueue_cli.shapes import to_json

INDENT = 14
WORDS = {
    "expired": "its lease ran out",
    "released": "given back",
    "failed": "failed",
    "timed_out": "took too long",
    "cancelled": "cancelled",
}


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs."""
    verdict, death = outcome.verdict, outcome.death
    return {
        "sound": outcome.sound,
        "jobs": verdict.jobs,
        "completed": verdict.completed,
        "lost": len(verdict.lost),
        "completedTwice": len(verdict.twice),
        "repeatedJobs": verdict.repeated,
        "handlerRunsBeyondFirst": verdict.ran_again,
        "seconds": round(outcome.seconds, 3),
        "kill": {
            "submittedAcknowledged": death.submitted_acknowledged,
            "submittedAfter": death.submitted_after,
            "completedAcknowledged": death.completed_acknowledged,
            "completedAfter": death.completed_after,
            "awayMs": round(death.away_ms),
            "restartMs": round(death.restart_ms),
        },
        "tilesMissing": outcome.tiles_missing,
        "letters": outcome.letters,
        "flatOut": to_json(outcome.flat_out),
        "commits": outcome.stored.commits,
        "storedObjects": outcome.stored.objects,
        "storedBytes": outcome.stored.size,
    }


def show(outcome: Outcome, *, kept: Path | None) -> None:
    """The summary. `kept` is where the demo's files are, unless they are removed."""
    verdict, death = outcome.verdict, outcome.death
    click.echo()
    if outcome.sound:
        click.secho(f"  All {verdict.jobs:,} jobs ran to completion. Nothing was lost.", fg="green", bold=True)
    else:
        click.secho(f"  {len(verdict.lost):,} of {verdict.jobs:,} jobs did not complete.", fg="red", bold=True)
    click.echo()
    for name, value in _facts(outcome).items():
        first, *more = textwrap.wrap(value, width=max(40, shutil.get_terminal_size().columns - INDENT))
        click.echo(f"  {click.style(f'{name:<11}', dim=True)} {first}")
        for line in more:
            click.echo(" " * INDENT + line)
    if verdict.lost or verdict.twice or not death.sound:
        _show_damage(outcome)
    click.echo()
    if kept is not None:
        click.echo(f"  The picture they painted: {kept / 'picture.png'}")
        click.echo(f"  The queue on disk:        {kept / 'queue'}   letters: {kept / 'outbox'}")
        click.echo()
    click.echo("  Next:")
    for command, what in _next(kept):
        click.echo(f"    {click.style(f'{command:<44}', fg='cyan')} {what}")
    click.echo()


def _facts(outcome: Outcome) -> dict[str, str]:
    verdict, death, flat_out, stored = outcome.verdict, outcome.death, outcome.flat_out, outcome.stored
    tiles = verdict.jobs - outcome.letters_wanted
    return {
        "jobs": f"{tiles:,} tiles painted, {outcome.letters:,} receipts written, "
        f"in {outcome.seconds:.1f} s, kills included",
        "kill -9": f"of the broker, which had acknowledged {death.submitted_acknowledged:,} jobs and "
        f"{death.completed_acknowledged:,} completions; its successor knew {death.submitted_after:,} and "
        f"{death.completed_after:,}{_more(outcome)}",
        "recovery": f"{output.duration(death.restart_ms)} from starting the process to the first answer, "
        f"{output.duration(death.away_ms)} after the kill",
        "lost": f"{len(verdict.lost):,} jobs",
        "twice": f"{len(verdict.twice):,} jobs completed twice by the broker's account",
        "again": _again(outcome),
        "flat out": f"{flat_out.submit_per_s:,.0f} jobs/s submitted, {flat_out.cycle_per_s:,.0f} jobs/s claimed and "
        f"completed; a lone submit is durable in {flat_out.lone_submit_ms_p50:.1f} ms",
        "on disk": f"{stored.commits:,} commits, each durable before it was acknowledged; what is left of them is "
        f"{output.size(stored.size)} in {output.plural(stored.objects, 'object')}",
    }


def _more(outcome: Outcome) -> str:
    death = outcome.death
    more = death.submitted_after + death.completed_after - death.submitted_acknowledged - death.completed_acknowledged
    return " (the surplus was durable, and its answer died with the broker)" if more > 0 else ""


def _again(outcome: Outcome) -> str:
    verdict = outcome.verdict
    if not verdict.repeated and not verdict.ran_again:
        return "no job needed a second attempt"
    why = ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in verdict.broken_off.most_common())
    runs = f"; {output.plural(verdict.ran_again, 'handler')} ran to the end twice" if verdict.ran_again else ""
    return f"{output.plural(verdict.repeated, 'job')} needed a second attempt ({why}){runs}: at-least-once"


def _show_damage(outcome: Outcome) -> None:
    verdict = outcome.verdict
    for title, ids in (("lost", verdict.lost), ("completed twice", verdict.twice)):
        if ids:
            click.secho(f"  {title}: {', '.join(ids[:5])}{' …' if len(ids) > 5 else ''}", fg="red")
    if not outcome.death.sound:
        click.secho("  The broker came back knowing less than it had acknowledged.", fg="red")


def _next(kept: Path | None) -> list[tuple[str, str]]:
    steps = [
        ("osqueue serve", "a queue of your own, in ./osqueue-data"),
        ('osqueue submit hello \'{"name": "you"}\'', "from another terminal"),
    ]
    if kept is None:
        steps.append(("osqueue demo --keep", "the same again, and the picture stays"))
    return steps

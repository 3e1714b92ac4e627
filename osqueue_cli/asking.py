"""Questions before harm is done. Where nobody is there to answer, the command wants --yes."""

import sys

import click

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.output import printable

TYPED_FROM = 10
"""With this many jobs or more, the number must be typed: a yes is not enough."""


def is_somebody_there() -> bool:
    """Standard input is a terminal."""
    return sys.stdin.isatty()


def require_somebody(what: str, advice: str) -> None:
    """Go on where a question can be asked; elsewhere the command ends, naming what --yes would do."""
    if not is_somebody_there():
        raise Failure(
            f"nothing was changed: standard input is not a terminal, so nobody can be asked; --yes {what}",
            Exit.USAGE,
            hint=advice,
        )


def confirm(question: str) -> None:
    """Return on a yes; on anything else the command ends."""
    click.confirm(printable(question), abort=True, err=True)


def confirm_many(question: str, count: int) -> None:
    """The same for something that happens to `count` jobs: the more harm, the more deliberate the answer."""
    if count < TYPED_FROM:
        confirm(question)
        return
    typed = click.prompt(f"{printable(question)} Type {count} to do so", default="", show_default=False, err=True)
    if typed.replace(",", "").strip() != str(count):
        raise click.Abort

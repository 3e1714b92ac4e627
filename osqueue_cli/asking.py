"""Questions before harm is done, where somebody is there to answer."""

import sys

import click

TYPED_FROM = 10
"""From so many jobs on, the number must be typed and not just a yes."""


def is_somebody_there() -> bool:
    """Standard input is a terminal."""
    return sys.stdin.isatty()


def confirm(question: str) -> None:
    """Return on a yes; on anything else the command ends."""
    click.confirm(question, abort=True, err=True)


def confirm_many(question: str, count: int) -> None:
    """The same for something that happens to so many jobs: the more harm, the more deliberate the answer."""
    if count < TYPED_FROM:
        confirm(question)
        return
    typed = click.prompt(f"{question} Type {count} to do so", default="", show_default=False, err=True)
    if typed.replace(",", "").strip() != str(count):
        raise click.Abort

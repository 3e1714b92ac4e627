"""`osqueue demo`: real jobs, real processes, real kills, in well under a minute."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue_cli.demo.outcome import Outcome
    from osqueue_cli.demo.plan import Plan
    from osqueue_cli.demo.tally import Tally
    from osqueue_cli.demo.view import View


@click.command()
@click.option("--jobs", type=click.IntRange(20, 100_000), default=2_000, show_default=True, help="How many jobs.")
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="A new directory to use.")
@click.option("--keep", is_flag=True, help="Keep queue, letters, logs and picture. Implied by --dir.")
@click.option("--plain", is_flag=True, help="Plain lines, as without a terminal.")
@json_option
def demo(jobs: int, directory: Path | None, keep: bool, plain: bool, as_json: bool) -> None:
    """Watch jobs survive a kill -9 of their broker.

    Starts a broker on a local directory and two worker processes, submits jobs of two
    types with real handlers, kills the broker in the middle with kill -9 and starts it
    again, kills a worker, and then asks the broker for every single job.

    \b
    Examples:
      osqueue demo
      osqueue demo --keep           look at the picture afterwards
      osqueue demo --jobs 200 --plain
    """
    from osqueue_cli.demo import summary

    with _workplace(directory, keep) as place:
        outcome = asyncio.run(_tell(place, jobs, plain or as_json, as_json))
        if as_json:
            output.print_json(summary.as_json(outcome))
        else:
            summary.show(outcome, kept=place if keep or directory else None)
    if not outcome.sound:
        raise Failure("the promise was broken: this is a bug, please report it with the logs", Exit.FAILED)


@contextlib.contextmanager
def _workplace(directory: Path | None, keep: bool) -> Iterator[Path]:
    """A directory for the demo; a temporary one is removed at the end, unless it is to be kept."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Failure(f"the directory {directory} is not empty; give a new one", Exit.CONFIG)
        yield directory.resolve()
        return
    place = Path(tempfile.mkdtemp(prefix="osqueue-demo-"))
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


async def _tell(place: Path, jobs: int, plain: bool, as_json: bool) -> "Outcome":
    from osqueue_cli.demo.plan import Plan
    from osqueue_cli.demo.story import Story
    from osqueue_cli.demo.tally import Tally

    plan = Plan(jobs, place)
    tally = Tally(plan.jobs, plan.grid)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As for Ctrl-C, so that no process outlives the demo.
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with _view(plan, tally, plain, as_json) as view:
            return await Story(plan, tally, view).tell()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _view(plan: "Plan", tally: "Tally", plain: bool, as_json: bool) -> "View":
    from osqueue_cli.demo.view import LineView

    if plain or not os.isatty(1):
        return LineView(tally, to_stderr=as_json)
    from rich.console import Console

    from osqueue_cli.demo.live import LiveView

    return LiveView(tally, Console())

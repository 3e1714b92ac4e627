"""The `osqueue` command: what there is, by purpose. Nothing else is imported until a command is called."""

import os
import sys

import click

from osqueue_cli.exits import Exit
from osqueue_cli.lazy import Entry, LazyGroup

SECTIONS = {
    "Run": {
        "serve": Entry(
            "osqueue_cli.commands.serve:serve", "Run a queue on this machine: broker and gateway in one process."
        ),
        "broker": Entry("osqueue_cli.commands.broker:broker", "Run a broker: it leads, or stands by until it may."),
        "demo": Entry("osqueue_cli.commands.demo:demo", "Watch 2,000 jobs survive a kill -9 of their broker."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes and a tour: docs/cli.md. `osqueue COMMAND --help` shows examples.",
)
@click.version_option(package_name="osqueue", message="osqueue %(version)s")
def cli() -> None:
    """A durable job queue with nothing to run but a bucket.

    \b
    Start here:
      osqueue demo                              see it work, in a minute
      osqueue serve                             a queue in ./osqueue-data
      osqueue submit email '{"to": "ada"}'      from another terminal
    """


def main() -> None:
    """The console script."""
    try:
        cli.main(prog_name="osqueue")
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)

"""The console script: hands over to the commands, and sees to a clean end."""

import os
import sys

from osqueue_cli.exits import Exit


def main() -> None:
    """Run the `osqueue` command; never returns."""
    try:
        from osqueue_cli.cli import cli
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.stderr.write("the osqueue command needs an extra: pip install 'osqueue[cli]', or 'osqueue[server]'\n")
        sys.exit(Exit.CONFIG)
    try:
        cli.main(prog_name="osqueue")
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)

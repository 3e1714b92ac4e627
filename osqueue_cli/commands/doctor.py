"""`osqueue doctor`: what is wrong here, and how to mend it."""

from collections.abc import Mapping

import click

from osqueue_cli import output
from osqueue_cli.checks import Check, Verdict, check_everything
from osqueue_cli.connection import Connection, process_options
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.settings import settings_options

MARKS = {Verdict.OK: ("✔", "green"), Verdict.WARNING: ("!", "yellow"), Verdict.PROBLEM: ("✖", "red")}


@click.command()
@click.option("--no-write", is_flag=True, help="Do not prove the bucket's conditions: that puts and removes objects.")
@settings_options(storage_default="file", exclude=("token",))
@process_options
def doctor(connection: Connection, as_json: bool, no_write: bool, overrides: Mapping[str, str]) -> None:
    """Check settings, storage, clock, ports and versions.

    Says what to fix. Looks at this machine and its environment the way `osqueue serve` would, and at the
    broker that answers. Exit code 0: all is well, 1: something must be fixed.

    \b
    Examples:
      osqueue doctor
      osqueue doctor --storage-backend s3 --s3-bucket jobs
      osqueue doctor --broker grpc://broker-1:8081 --json
    """
    checks = check_everything(overrides, connection, may_write=not no_write)
    if as_json:
        output.print_json([check.as_json() for check in checks])
    else:
        for check in checks:
            _print(check)
    problems = sum(check.verdict is Verdict.PROBLEM for check in checks)
    if problems:
        raise Failure(f"{output.plural(problems, 'thing')} to fix", Exit.FAILED)
    if not as_json:
        output.say("nothing must be fixed")


def _print(check: Check) -> None:
    mark, colour = MARKS[check.verdict]
    output.say(output.styled(mark, fg=colour), f" {check.name:<10} {check.found}")
    if check.fix:
        output.say(f"  {'':<10} ", output.styled("→", fg=colour), f" {check.fix}")

"""Errors on their way to the terminal: one sentence for a person or one JSON object, and an exit code."""

import json
import sys
from collections.abc import Sequence
from typing import IO, Any

import click

from osqueue_cli.exits import Exit, exit_of
from osqueue_cli.output import json_line, printable_lines

JSON_KEY = "osqueue.json"
"""Key of the context's `meta` that says whether this call speaks JSON."""


class Failure(click.ClickException):
    """The command ends here: `tag` and `reason` are those of the public contract, where the error is one of it."""

    def __init__(
        self,
        message: str,
        exit_code: Exit,
        *,
        tag: str = "",
        reason: str = "",
        violations: Sequence[tuple[str, str]] = (),
        hint: str = "",
        as_json: bool = False,
    ) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click reads it from the instance
        self.tag = tag
        self.reason = reason
        self.violations = tuple(violations)
        self.hint = hint
        self.as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to standard error: standard output is for answers."""
        stream = file or sys.stderr
        if self.as_json:
            body: dict[str, Any] = {"_tag": self.tag or "CliError", "message": self.message, "exitCode": self.exit_code}
            if self.reason:
                body["reason"] = self.reason
            if self.violations:
                body["violations"] = [{"field": f, "description": d} for f, d in self.violations]
            click.echo(json_line(json.dumps({"error": body}, ensure_ascii=False)), file=stream)
            return
        click.echo(f"{click.style('error:', fg='red', bold=True)} {printable_lines(self.message)}", file=stream)
        if self.hint:
            click.echo(f"{click.style('hint:', fg='cyan')} {printable_lines(self.hint)}", file=stream)


def failure_of(error: Exception, *, as_json: bool) -> Failure | None:
    """The failure that shows this error; None for click's own, and for defects: their traceback is wanted."""
    if isinstance(error, Failure):
        error.as_json = error.as_json or as_json
        return error
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
        return None
    from osqueue.errors import OsqueueError

    if isinstance(error, OsqueueError):
        return Failure(
            error.message,
            exit_of(error.tag, error.reason),
            tag=error.tag,
            reason=error.reason,
            violations=error.violations,
            hint=_hint(error.tag),
            as_json=as_json,
        )
    return _of_the_broker(error, as_json)


def _of_the_broker(error: Exception, as_json: bool) -> Failure | None:
    """Errors of a broker that runs in this very process; without the server extra there are none."""
    broker = sys.modules.get("osqueue_service.errors")
    if broker is None:
        return None
    if isinstance(error, broker.ClockAhead):
        return Failure(str(error), Exit.CONFIG, tag="ConfigError", as_json=as_json)
    if isinstance(error, broker.ConfigError):
        return Failure(str(error), Exit.CONFIG, tag="ConfigError", as_json=as_json)
    if isinstance(error, broker.BrokerLeadershipError):
        return Failure(str(error), Exit.CONFLICT, tag="BrokerLeadershipError", as_json=as_json)
    if isinstance(error, broker.WrittenByNewer):
        return Failure(str(error), Exit.CONFLICT, tag="StorageBackendError", as_json=as_json)
    if isinstance(error, broker.StoreError | broker.CorruptObject):
        return Failure(str(error), Exit.UNREACHABLE, tag="StorageBackendError", as_json=as_json)
    return None


def _hint(tag: str) -> str:
    if tag == "TransportConnectionError":
        return "is a broker running there? `osqueue serve` starts one; --broker or BROKER_URL names another"
    if tag == "AuthError":
        return "set OSQUEUE_TOKEN"
    return ""

"""A group of commands that imports a command only when it is called, so that `--help` is instant."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from osqueue_cli.exits import Exit
from osqueue_cli.failing import JSON_KEY, failure_of


class Entry(NamedTuple):
    """Where a command is and what it does; the sentence is the first line of its own help."""

    target: str
    help: str


class LazyGroup(click.Group):
    """Commands by section, each imported on use. Errors raised on purpose become one line and an exit code."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Entry]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self.entries = {name: entry for entries in sections.values() for name, entry in entries.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.entries and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self.entries, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"`{ctx.command_path} --help` lists the commands"
            ctx.fail(f"there is no command {args[0]!r}; {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()], col_max=16)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except Exception as error:
            failure = failure_of(error, as_json=bool(ctx.meta.get(JSON_KEY)))
            if failure is None or failure is error:
                raise
            raise failure from error

"""Help teaches, and costs nothing."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from osqueue_cli.cli import SECTIONS, cli
from osqueue_cli.exits import Exit, exit_of

HEAVY = ["grpc", "rich", "aiohttp", "pydantic", "msgspec", "osqueue.client", "osqueue_service"]
ENTRIES = {name: entry for entries in SECTIONS.values() for name, entry in entries.items()}


def test_help_imports_nothing_heavy():
    probe = (
        "import sys\n"
        "from osqueue_cli.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert "osqueue demo" in run.stdout


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_says_what_the_command_says(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n")[0].strip() == ENTRIES[name].help


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_explains_itself(name, anywhere):
    answer = anywhere(name, "--help")
    assert answer.exit_code == 0
    assert f"osqueue {name}" in answer.out


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - {"stats", "resume", "workers", "top"}))
def test_help_has_examples(name, anywhere):
    assert "Example" in anywhere(name, "--help").out


def test_a_typing_error_is_guessed(anywhere):
    answer = anywhere("sumbit", "x")
    assert answer.exit_code == Exit.USAGE
    assert "did you mean 'submit'?" in answer.err


def test_an_unknown_command_points_to_help(anywhere):
    answer = anywhere("frobnicate")
    assert answer.exit_code == Exit.USAGE
    assert "osqueue --help" in answer.err


def test_the_version_is_told(anywhere):
    assert anywhere("--version").out.startswith("osqueue ")


def test_every_error_of_the_sdk_has_an_exit_code():
    from osqueue import errors

    by_reason = (errors.OsqueueError, errors.EngineStateError)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.OsqueueError) and kind not in by_reason:
            assert exit_of(kind.tag, "") is not Exit.INTERNAL, kind.tag
    assert exit_of("EngineStateError", "INTERNAL") is Exit.INTERNAL
    assert exit_of("EngineStateError", "OUTCOME_UNKNOWN") is Exit.UNKNOWN


def test_the_exit_codes_are_documented():
    text = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()
    for code in Exit:
        assert f"| {int(code)} |" in text, f"docs/cli.md does not list exit code {int(code)}"

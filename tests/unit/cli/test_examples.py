"""The examples of every `--help`, as they are written: run against a broker where that ends, else parsed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from osqueue_cli.cli import cli
from osqueue_cli.exits import Exit
from osqueue_service.testing.in_process import BrokerThread
from tests.docs.test_readme import parse
from tests.unit.cli.test_transports import commands

PARSED_ONLY = {
    "demo": "it takes long, and has tests of its own",
    "serve": "it runs until it is stopped",
    "broker": "it runs until it is stopped",
    "gateway": "it runs until it is stopped",
    "deploy": "it speaks to a cloud account, and has tests of its own",
    "work": "it runs a module of the reader's",
    "top": "it runs until it is stopped",
    "export": "it reads a queue that no broker serves, and has tests of its own",
    "bench": "it takes long",
    "tokens": "it changes who may call a broker that asks for a token, and has tests of its own",
    "doctor": "it looks at this machine",
    "inspect": "it looks into a store, of which there is none here",
    "verify": "it looks into a store, of which there is none here",
    "diff": "it looks into a store, of which there is none here",
    "restore": "it looks into a store, of which there is none here",
}
"""Commands whose examples are not run here, and why."""

FILES = {"report.json": '{"year": 2030}', "mails.jsonl": '{"to": "ada"}\n{"to": "eve"}\n'}
"""What examples read."""


def examples() -> Iterator[tuple[str, str]]:
    """(command, line) of every example in every help text."""
    for name, command in [("", cli), *commands(cli)]:
        for line in (command.help or "").splitlines():
            line = line.strip()
            if re.match(r"(\w+=\S+ )*osqueue |date \|", line):
                yield name, re.split(r" {2,}", line)[0]


EXAMPLES = sorted(set(examples()))


def arguments_of(line: str) -> list[str]:
    """What `osqueue` is called with, without what stands before and behind."""
    called = line.rpartition("date | ")[2].partition(" | ")[0].partition(" > ")[0]
    words = shlex.split(called.replace("\\", "").replace('"$(openssl rand -hex 16)"', "token"))
    while "=" in words[0]:
        words.pop(0)
    assert words.pop(0) == "osqueue"
    return words


def test_there_are_examples():
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_right_as_it_stands(
    broker: BrokerThread, name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file, content in FILES.items():
        (tmp_path / file).write_text(content)
    monkeypatch.chdir(tmp_path)
    arguments = arguments_of(line)
    if arguments[:2] in (
        ["limits", "override"],
        ["limits", "keys"],
    ):  # examples of these speak of a limit that is there
        env = {"BROKER_URL": f"grpc://{broker.address}", "OSQUEUE_TOKEN": ""}
        CliRunner().invoke(
            cli, ["limits", "put", arguments[2], "--max", "3", "--per-key"], env=env, catch_exceptions=False
        )
    if name.split(" ")[0] in PARSED_ONLY or arguments[0] in PARSED_ONLY or "--follow" in arguments:
        parse(arguments)
        return
    if "--wait" in arguments:
        arguments += ["--wait-limit", "10ms"]  # nobody works here
    env = {"BROKER_URL": f"grpc://{broker.address}", "OSQUEUE_TOKEN": ""}
    result = CliRunner().invoke(cli, arguments, env=env, input="now\n", prog_name="osqueue")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    # The ids of examples are nobody's, and what asks a person is refused in a test.
    asks = "--yes" in result.stderr and result.exit_code == Exit.USAGE
    assert asks or result.exit_code in (Exit.OK, Exit.NOT_FOUND, Exit.CONFLICT, Exit.TIMEOUT), result.stderr

"""The README's programs and commands, as they are written, against a broker and a gateway in this process."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from osqueue_cli.cli import cli
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import BrokerThread

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if re.match(r"(make|curl|osqueue|pip|python) ", line)
]


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, str]]:
    """(gRPC, HTTP), each host:port."""
    with BrokerThread() as broker:

        async def start(app: object) -> Gateway:
            gateway = Gateway(GatewayConfig("127.0.0.1", 0, (broker.address,)))
            await gateway.start()
            return gateway

        gateway = broker.run(start)
        try:
            yield broker.address, f"127.0.0.1:{gateway.port}"
        finally:
            broker.run(lambda app: gateway.stop())


def test_there_is_something_to_run():
    assert len(PROGRAMS) == 1
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("program", PROGRAMS, ids=["python"])
def test_the_program_runs(site, program):
    result = subprocess.run(
        [sys.executable, "-c", program.replace("localhost:8081", site[0])],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "{'sent': 'ada@example.org'}\n"), result.stderr


def test_the_calls_over_http_work(site):
    answers = []
    for command in COMMANDS:
        if command.startswith("curl "):
            told = subprocess.run(
                shlex.split(command.replace("localhost:8080", site[1])), capture_output=True, text=True, timeout=60
            )
            assert told.returncode == 0, command
            answers.append(json.loads(told.stdout))
    submitted, claimed, stats = answers
    assert claimed["jobId"] == submitted["jobId"]
    assert stats["inProgress"] >= 1


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("osqueue ")])
def test_the_commands_are_commands(command):
    """Each with its options; that a broker starts on the settings of a bucket is shown beside the stores."""
    parse(shlex.split(command)[1:])


def test_what_is_installed_is_ours():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for command in COMMANDS:
        if command.startswith("pip install "):
            name, _, extra = shlex.split(command)[2].rstrip("]").partition("[")
            assert (name, extra in project["optional-dependencies"]) == (project["name"], True)


def test_make_has_its_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in [command.split()[1] for command in COMMANDS if command.startswith("make ")]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def parse(arguments: list[str]) -> click.Command:
    """The command that these arguments call, which must be right as they are; it is not run."""
    group: click.Command = cli
    context = click.Context(cli, info_name="osqueue")
    while isinstance(group, click.Group):
        name, command, arguments = group.resolve_command(context, list(arguments))
        assert command is not None
        context = click.Context(command, info_name=name, parent=context)
        group = command
    with group.make_context(context.info_name, list(arguments), parent=context.parent):
        return group

"""A broker in a thread, and the command line called against it as a user would."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from osqueue_cli.cli import cli
from osqueue_service.testing.in_process import BrokerThread


@dataclass(frozen=True)
class Answer:
    """What a call of the command line came to."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


Call = Callable[..., Answer]


def call_cli(*arguments: str, input: str | bytes | None = None, env: dict[str, str] | None = None) -> Answer:
    """`osqueue ARGUMENTS...`; an exception that no user should see is raised."""
    result = CliRunner().invoke(cli, [*map(str, arguments)], input=input, env=env, prog_name="osqueue")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="module")
def broker():
    """A broker for the tests of one module; each test uses job types of its own."""
    with BrokerThread() as broker:
        yield broker


@pytest.fixture
def osqueue(broker) -> Call:
    """The command line, with that broker in its environment."""

    def call(*arguments: str, input: str | bytes | None = None) -> Answer:
        return call_cli(*arguments, input=input, env={"BROKER_URL": f"grpc://{broker.address}", "OSQUEUE_TOKEN": ""})

    return call


@pytest.fixture
def anywhere() -> Call:
    """The command line, with no broker in its environment."""
    return call_cli


@pytest.fixture
def job_type(request) -> str:
    """A job type that no other test of the module uses."""
    return request.node.name.replace("[", ".").replace("]", "").replace(" ", "_")[:100]

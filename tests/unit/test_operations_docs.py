"""docs/operations names only what exists: metrics, events, settings, outcomes, commands, pages and places in them."""

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from grpc_health.v1 import health_pb2

from osqueue_cli.cli import cli
from osqueue_cli.commands.gateway import VARIABLES
from osqueue_service import errors
from osqueue_service.config import known_settings
from osqueue_service.errors import OsqueueError
from osqueue_service.log import LogCounters
from osqueue_service.state.model import Counters
from osqueue_service.testing.in_process import broker_in_process

FOLDER = Path(__file__).resolve().parents[2] / "docs/operations"
PAGES = sorted(FOLDER.glob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)

LIMITED = {"S3_MAX_WRITES_PER_DAY": "1000000"}
"""With a limit, so that the throttle has metrics too."""


def reasons() -> set[str]:
    kinds = vars(errors).values()
    return {kind.reason for kind in kinds if isinstance(kind, type) and issubclass(kind, OsqueueError)}


async def test_metrics() -> None:
    async with broker_in_process(settings=LIMITED) as broker:
        shown = set(re.findall(r"^# TYPE (\S+)", broker.metrics.render(), re.MULTILINE))
    named = set(re.findall(r"\bosqueue_[a-z_]+", TEXT))
    assert named and named <= shown


def test_events() -> None:
    log_events = {each.name for each in fields(LogCounters)}
    job_events = set(Counters.__struct_fields__)
    assert set(re.findall(r'osqueue_log_events_total\{event="(\w+)"', TEXT)) <= log_events
    assert set(re.findall(r'osqueue_jobs_total\{event="(\w+)"', TEXT)) <= job_events
    table = TEXT[TEXT.index("| event | meaning |") :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) - {"queue"} <= log_events


def test_settings_and_outcomes() -> None:
    health = set(health_pb2.HealthCheckResponse.ServingStatus.keys())
    known = set(known_settings()) | set(VARIABLES.values()) | {"BROKER_URL"} | health
    named = set(re.findall(r"\b(?!AWS_)[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b", TEXT))
    assert named and named <= known | reasons()


def test_commands() -> None:
    context = click.Context(cli)
    for name, rest in re.findall(r"(?:^\$ |`|; do |=\S+ )osqueue ([a-z-]+)([^`\n]*)", TEXT, re.MULTILINE):
        command = cli.get_command(context, name)
        assert command is not None, name
        words = rest.split()
        if isinstance(command, click.Group):
            command = command.get_command(context, words[0])
            assert command is not None, (name, rest)
        options = {option for parameter in command.params for option in parameter.opts}
        before_pipe = rest.partition("|")[0].partition(">")[0].partition(")")[0]
        assert set(re.findall(r"--[a-z-]+", before_pipe)) <= options, (name, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)\s]+))?\)", page.read_text()):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            places = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in places, (target, anchor)


def test_programs() -> None:
    root = FOLDER.parents[1]
    for program in re.findall(r"(scripts/[a-z_.]+)", TEXT):
        assert (root / program).exists()

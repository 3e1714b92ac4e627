"""`osqueue deploy` as people and scripts call it."""

import json
from collections.abc import Callable

import pytest

from osqueue_cli import asking
from osqueue_cli.exits import Exit
from osqueue_deploy.aws.account import Account
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import template
from tests.unit.cli.conftest import call_cli

Stages = Callable[..., Stage]


def test_a_dry_run_prints_the_template_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    answer = call_cli("deploy", "aws", "--stage", "dev", "--brokers", "3", "--dry-run")
    assert answer.exit_code == Exit.OK
    assert json.loads(answer.out) == template(Stage("dev", brokers=3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage", "Dev"], "stage: 'Dev' is not a name"),
        (["--stage", "dev", "--brokers", "1"], "brokers: 1 is not allowed; it must be from 2 to 5"),
        (["--stage", "dev", "--cpu", "100"], "cpu: Fargate has"),
        (["--stage", "dev", "--domain", "q.example.com"], "certificate and domain: give both"),
    ],
)
def test_bad_settings_are_named_before_anything_is_asked(options: list[str], said: str) -> None:
    answer = call_cli("deploy", "aws", *options, "--yes")
    assert (answer.exit_code, answer.out) == (Exit.USAGE, "")
    assert said in answer.err


def test_without_a_terminal_it_wants_yes() -> None:
    answer = call_cli("deploy", "aws", "--stage", "dev")
    assert answer.exit_code == Exit.USAGE
    assert "nothing was changed" in answer.err and "--yes" in answer.err


def test_without_a_region_it_says_how_to_choose_one(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    answer = call_cli("deploy", "aws", "--stage", "dev", "--yes")
    assert answer.exit_code == Exit.DENIED
    assert "no region is chosen" in answer.err and "AWS_REGION" in answer.err


def test_without_credentials_it_says_how_to_log_in(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    answer = call_cli("deploy", "aws", "--stage", "dev", "--yes")
    assert answer.exit_code == Exit.DENIED
    assert "there are no credentials for AWS" in answer.err and "AWS_PROFILE" in answer.err


def test_a_profile_that_is_not_there_is_named(account: Account) -> None:
    answer = call_cli("deploy", "aws", "--stage", "dev", "--yes", "--profile", "nobody")
    assert answer.exit_code == Exit.DENIED
    assert "nobody" in answer.err


def test_without_an_image_and_without_the_code_it_says_what_is_missing(
    account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    answer = call_cli("deploy", "aws", "--stage", "dev", "--yes", "--source", elsewhere)
    assert answer.exit_code == Exit.CONFIG
    assert "not a copy of osqueue's code" in answer.err and "--image" in answer.err


def test_a_stage_comes_and_goes(account: Account, stage: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    stage("typed")
    answer = call_cli("deploy", "aws", "--stage", "typed", "--image", "example.com/osqueue:1", "--yes")
    assert answer.exit_code == Exit.OK, answer.err
    assert "dashboard  https://" in answer.out and "osqueue submit hello" in answer.out
    assert "CREATE_COMPLETE      Broker2Service" in answer.err

    answer = call_cli("deploy", "aws", "--stage", "typed", "--image", "example.com/osqueue:1", "--yes")
    assert answer.exit_code == Exit.OK and "nothing was to be changed" in answer.err

    answer = call_cli("deploy", "remove", "--stage", "typed")
    assert answer.exit_code == Exit.USAGE and "--confirm typed" in answer.err
    answer = call_cli("deploy", "remove", "--stage", "typed", "--confirm", "type")
    assert answer.exit_code == Exit.USAGE and "'type' is not the stage's name" in answer.err

    monkeypatch.setattr(asking, "is_somebody_there", lambda: True)
    answer = call_cli("deploy", "remove", "--stage", "typed", input="yes\n")
    assert answer.exit_code != Exit.OK and "is removed" not in answer.err
    answer = call_cli("deploy", "remove", "--stage", "typed", input="typed\n")
    assert answer.exit_code == Exit.OK, answer.err
    assert "every job is lost" in answer.err and "stage typed is removed" in answer.err
    answer = call_cli("deploy", "remove", "--stage", "typed", "--confirm", "typed")
    assert answer.exit_code == Exit.NOT_FOUND

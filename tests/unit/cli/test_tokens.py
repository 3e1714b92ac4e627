"""`osqueue tokens` and `osqueue whoami` against a broker that asks for a token."""

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from osqueue_cli.cli import cli
from osqueue_cli.exits import Exit
from osqueue_service.rpc.access import tokens
from osqueue_service.testing.in_process import BrokerThread

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def guarded() -> Iterator[BrokerThread]:
    with BrokerThread(settings={"OSQUEUE_TOKEN": "s3cret"}) as broker:
        yield broker


@pytest.fixture
def call(guarded: BrokerThread) -> Call:
    def run(*arguments: str, token: str = "s3cret", text: str | None = None) -> Result:
        env = {"BROKER_URL": f"grpc://{guarded.address}", "OSQUEUE_TOKEN": token}
        return CliRunner().invoke(cli, arguments, env=env, input=text)

    return run


def test_a_token_is_made_shown_once_and_lets_in(call: Call) -> None:
    made = call("tokens", "create", "mail workers", "--scope", "work:email.*", "--scope", "read", "--expires", "90d")
    assert made.exit_code == Exit.OK, made.stderr
    token = made.stdout.strip()
    assert "shown once" in made.stderr
    mine = call("whoami", token=token)
    assert "mail workers" in mine.stdout and "read work:email.*" in mine.stdout
    listed = call("tokens", "list")
    assert tokens.id_of(token.encode()) in listed.stdout
    assert token not in listed.stdout


def test_what_it_may_not_do_exits_like_any_refusal(call: Call) -> None:
    token = call("tokens", "create", "screen", "--scope", "viewer").stdout.strip()
    assert call("stats", token=token).exit_code == Exit.OK
    refused = call("submit", "email", "1", token=token)
    assert refused.exit_code == Exit.DENIED
    assert "needs the scope submit" in refused.stderr


def test_a_token_is_rotated_and_revoked(call: Call) -> None:
    made = json.loads(call("tokens", "create", "ci", "--scope", "read", "--json").stdout)
    token_id, first = made["info"]["id"], made["token"]
    second = call("tokens", "rotate", token_id).stdout.strip()
    assert call("whoami", token=first).exit_code == call("whoami", token=second).exit_code == Exit.OK
    third = call("tokens", "rotate", token_id, "--revoke-old").stdout.strip()
    assert call("whoami", token=second).exit_code == Exit.DENIED
    assert call("tokens", "revoke", token_id, "--yes").exit_code == Exit.OK
    assert call("whoami", token=third).exit_code == Exit.DENIED


def test_wrong_scopes_are_refused_with_the_right_ones(call: Call) -> None:
    refused = call("tokens", "create", "ci", "--scope", "reads")
    assert refused.exit_code == Exit.USAGE
    assert "read.payload" in refused.stderr


def test_the_hash_for_a_file_is_that_of_the_broker(call: Call) -> None:
    assert call("tokens", "hash", text="osq_ci_abc\n").stdout.strip() == tokens.hashed(b"osq_ci_abc")
    assert call("tokens", "hash", text="").exit_code == Exit.USAGE

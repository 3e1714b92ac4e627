"""`osqueue tokens` and `osqueue whoami`: who may call, and what each may do."""

import hashlib
import sys
import time
from typing import TYPE_CHECKING

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, process_options
from osqueue_cli.params import DURATION
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.access_messages import TokenInfo

HEAD = ["ID", "NAME", "SCOPES", "EXPIRES", "LAST USED", "SECRETS"]


@click.group()
def tokens() -> None:
    """Tokens: create, list, rotate, revoke.

    A token carries scopes: submit, work, read, read.payload, manage, operate, admin; submit and work also for some
    types alone (submit:email.*). The roles producer, worker, viewer and operator stand for what the usual callers need.

    \b
    Examples:
      osqueue tokens create "mail workers" --scope work:email.* --scope read
      osqueue tokens create dashboard --scope viewer --expires 90d
      osqueue tokens rotate 8fk2m1qx0ab7
    """


@tokens.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="A scope or a role; repeat it for several.")
@click.option("--expires", type=DURATION, default=None, help="How long it is let in, such as 90d; unset: for ever.")
@process_options
def create(connection: Connection, as_json: bool, name: str, scopes: tuple[str, ...], expires: int | None) -> None:
    """Make a token for NAME and show it, this once.

    \b
    Examples:
      osqueue tokens create ci --scope submit:build.* --scope read
      osqueue tokens create ci --scope producer --json | jq -r .token
    """
    ends_at = int(time.time() * 1_000) + expires if expires else 0
    made = connection.run(lambda client: client.tokens.create(name, scopes, expires_at=ends_at))
    _show_new(made.token, made.info, as_json)


@tokens.command("list")
@process_options
def list_tokens(connection: Connection, as_json: bool) -> None:
    """List all tokens, without their secrets.

    \b
    Examples:
      osqueue tokens list
    """
    found = connection.run(_list)
    if as_json:
        output.print_json([to_json(token) for token in found])
        return
    rows = [
        [
            token.id,
            token.name or "-",
            " ".join(token.scopes),
            output.timestamp(token.expires_at) if token.expires_at else "never",
            output.timestamp(token.last_used_at) if token.last_used_at else "-",
            "in a file" if token.declared else str(token.secrets),
        ]
        for token in found
    ]
    if not rows:
        output.note("no tokens: `osqueue tokens create` makes one")
        return
    output.print_table(HEAD, rows)


@tokens.command()
@click.argument("token_id")
@click.option("--revoke-old", is_flag=True, help="Refuse the secret before at once.")
@process_options
def rotate(connection: Connection, as_json: bool, token_id: str, revoke_old: bool) -> None:
    """Give a token another secret, and show it, this once.

    The secret before is let in until the next rotation, so that callers change over one by one.

    \b
    Examples:
      osqueue tokens rotate 8fk2m1qx0ab7
      osqueue tokens rotate 8fk2m1qx0ab7 --revoke-old      it has leaked
    """
    turned = connection.run(lambda client: client.tokens.rotate(token_id, revoke_old=revoke_old))
    _show_new(turned.token, turned.info, as_json)


@tokens.command()
@click.argument("token_id")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@process_options
def revoke(connection: Connection, as_json: bool, token_id: str, yes: bool) -> None:
    """Let nobody in by a token any more.

    \b
    Examples:
      osqueue tokens revoke 8fk2m1qx0ab7
      osqueue tokens revoke 8fk2m1qx0ab7 --yes       in a script
    """
    if not yes:
        asking.require_somebody(f"revokes the token {token_id}", "`osqueue tokens list` says who holds it")
        asking.confirm(f"let nobody in by {token_id} any more?")
    connection.run(lambda client: client.tokens.revoke(token_id))
    if as_json:
        output.print_json({"revoked": token_id})
    else:
        output.say(f"{token_id} is revoked; what it opened has ended")


@tokens.command("hash")
def hash_token() -> None:
    """Print what a file of tokens keeps of the token that is read from standard input.

    \b
    Examples:
      printf %s "$TOKEN" | osqueue tokens hash
    """
    token = sys.stdin.read().strip()
    if not token:
        raise click.UsageError("nothing came on standard input; pipe the token in")
    output.say(f"sha256:{hashlib.sha256(token.encode()).hexdigest()}")


@click.command()
@process_options
def whoami(connection: Connection, as_json: bool) -> None:
    """Say who you are to the broker, and what you may do.

    \b
    Examples:
      osqueue whoami
    """
    mine = connection.run(lambda client: client.tokens.who_am_i())
    if as_json:
        output.print_json(to_json(mine))
        return
    until = f", until {output.timestamp(mine.expires_at)}" if mine.expires_at else ""
    output.say(f"{mine.principal} ({mine.name}){until}: {' '.join(mine.scopes)}")


async def _list(client: "OsqueueClient") -> "list[TokenInfo]":
    return [token async for token in client.tokens.list()]


def _show_new(token: str, info: "TokenInfo", as_json: bool) -> None:
    if as_json:
        output.print_json({"token": token, "info": to_json(info)})
        return
    output.note(f"{info.id} may {' '.join(info.scopes)}; this is shown once:")
    output.say(token)

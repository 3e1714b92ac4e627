"""`osqueue step-down`: the leader hands over."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import click

from osqueue_cli import asking, output
from osqueue_cli.connection import Connection, process_options
from osqueue_cli.exits import Exit, exit_of
from osqueue_cli.failing import Failure
from osqueue_cli.params import DURATION

if TYPE_CHECKING:
    from osqueue import OsqueueClient, Position

ASK_EVERY_S = 0.05


class Leader(NamedTuple):
    """Who leads: host:port of its gRPC, and its epoch."""

    address: str
    epoch: int


@click.command("step-down")
@click.option("--reason", default="", help="Why, for the leader's log.")
@click.option(
    "--limit", type=DURATION, default="30s", show_default=True,
    help="How long to wait for the next leader (exit code 9 when there is none by then).",
)  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@process_options
def step_down(connection: Connection, as_json: bool, reason: str, limit: int, yes: bool) -> None:
    """Let the leader hand over to a standby, and say who leads then.

    It serves on until a standby has followed, finishes its commits, so that nothing acknowledged is lost, and stands
    by afterwards. With a standby callers hardly notice; without one they wait until this broker's timeout is over.

    \b
    Examples:
      osqueue step-down --reason "new disks"
      osqueue step-down --yes                     in a script
    """
    before = connection.run(_leader)
    if not yes:
        asking.require_somebody(f"lets {before.address} hand over", "`osqueue stats` names the epoch that it leads")
        asking.confirm(f"let {before.address} hand over, the leader of epoch {before.epoch}?")
    commit = connection.run(lambda client: _hand_over(client, before, reason))
    if not as_json:
        output.note(
            f"{before.address} has handed over after epoch {commit.epoch}, commit {commit.sequence:,}; "
            "waiting for the next leader (Ctrl-C stops the waiting only)"
        )
    after = connection.run(lambda client: _next_leader(client, before.epoch, limit))
    if as_json:
        last = {"epoch": commit.epoch, "sequence": commit.sequence}
        output.print_json({"commit": last, "leader": after.address, "epoch": after.epoch})
    else:
        output.say(f"{after.address} leads epoch {after.epoch}")


async def _leader(client: "OsqueueClient") -> Leader:
    root = await client.admin.root()
    return Leader(root.grpc_address, root.epoch)


async def _hand_over(client: "OsqueueClient", before: Leader, reason: str) -> "Position":
    from osqueue import EngineStateError, Position, TransportConnectionError

    # Finds the leader, since the call itself is made once only: a second one could depose the next leader, too.
    if (await _leader(client)).epoch != before.epoch:
        raise Failure("another leader has taken over in the meantime; nothing was changed", Exit.CONFLICT)
    try:
        commit = await client.admin.step_down(reason=reason)
    except (EngineStateError, TransportConnectionError) as error:
        raise Failure(
            f"{before.address} may have handed over, or not: {error}",
            Exit.UNKNOWN,
            tag=error.tag,
            reason=error.reason,
            hint=f"`osqueue stats` names the epoch, which was {before.epoch}",
        ) from error
    return commit or Position(before.epoch, 0)


async def _next_leader(client: "OsqueueClient", epoch: int, limit_ms: int) -> Leader:
    from osqueue import OsqueueError

    try:
        async with asyncio.timeout(limit_ms / 1_000):
            while True:
                try:
                    found = await _leader(client)
                except OsqueueError as error:
                    if exit_of(error.tag, error.reason) not in (Exit.UNREACHABLE, Exit.UNKNOWN):
                        raise
                    continue  # nobody leads yet; the call has taken its time already
                if found.epoch > epoch:
                    return found
                await asyncio.sleep(ASK_EVERY_S)
    except TimeoutError:
        raise Failure(
            f"nobody has taken over within {output.duration(limit_ms)}; the leader has handed over all the same",
            Exit.TIMEOUT,
            hint="`osqueue doctor` looks for what is in the way",
        ) from None

"""`osqueue step-down`: the leader hands over."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import click

from osqueue_cli import admin, asking, output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import DURATION

if TYPE_CHECKING:
    from osqueue_stubs.osqueue.v1.job_pb2 import CommitPosition

HAND_OVER_MS = 30_000
"""A leader serves on until a standby is near, 20 s at most, and has 5 s to finish."""
ASK_EVERY_S = 0.05


class Leader(NamedTuple):
    """Who leads: host:port of its gRPC, and its epoch."""

    address: str
    epoch: int


@click.command("step-down")
@click.option("--reason", default="", help="Why, for the leader's log.")
@click.option(
    "--limit", type=DURATION, default="30s", show_default=True,
    help="Wait so long for the next leader (exit code 9 when there is none by then).",
)  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connection_options
def step_down(connection: Connection, as_json: bool, reason: str, limit: int, yes: bool) -> None:
    """Let the leader hand over to a standby, and say who leads then.

    It serves on until a standby has followed, finishes its commits, so that nothing acknowledged is lost, and stands
    by afterwards. With a standby callers hardly notice; without one they wait until this broker's timeout is over.

    \b
    Example:
      osqueue step-down --reason "new disks"
    """
    before = admin.run(connection, _leader)
    if not (yes or as_json) and asking.is_somebody_there():
        asking.confirm(f"let {before.address} hand over, the leader of epoch {before.epoch}?")
    commit = admin.run(connection, lambda calls: _hand_over(calls, before, reason))
    if not as_json:
        output.note(
            f"{before.address} has handed over after epoch {commit.epoch}, commit {commit.sequence:,}; "
            "waiting for the next leader (Ctrl-C stops the waiting only)"
        )
    after = admin.run(connection, lambda calls: _next_leader(calls, before.epoch, limit))
    if as_json:
        last = {"epoch": commit.epoch, "sequence": commit.sequence}
        output.print_json({"commit": last, "leader": after.address, "epoch": after.epoch})
    else:
        click.echo(f"{after.address} leads epoch {after.epoch}")


async def _leader(calls: admin.Admin) -> Leader:
    from osqueue_stubs.osqueue.v1.queue_pb2 import GetStatsRequest

    found = await calls.call("GetStats", GetStatsRequest())
    return Leader(calls.address, found.position.epoch)


async def _hand_over(calls: admin.Admin, before: Leader, reason: str) -> "CommitPosition":
    from osqueue import TransportConnectionError
    from osqueue_stubs.osqueue.v1.admin_pb2 import StepDownRequest

    # Finds the leader, since the call itself is made once only: a second one could depose the next leader, too.
    if (await _leader(calls)).epoch != before.epoch:
        raise Failure("another leader has taken over in the meantime; nothing was changed", Exit.CONFLICT)
    request = StepDownRequest(reason=reason)
    try:
        commit: CommitPosition = (await calls.once("StepDown", request, HAND_OVER_MS)).commit
    except TransportConnectionError as error:
        raise Failure(
            f"{before.address} may have handed over, or not: {error}",
            Exit.UNKNOWN,
            tag=error.tag,
            reason=error.reason,
            hint=f"`osqueue stats` names the epoch, which was {before.epoch}",
        ) from error
    return commit


async def _next_leader(calls: admin.Admin, epoch: int, limit_ms: int) -> Leader:
    from osqueue import OsqueueError
    from osqueue.retrying import is_outage

    try:
        async with asyncio.timeout(limit_ms / 1_000):
            while True:
                try:
                    found = await _leader(calls)
                except OsqueueError as error:
                    if not is_outage(error):
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

"""`osqueue top`: the queue, live."""

import asyncio
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.commands.stats import HEAD, type_row
from osqueue_cli.commands.workers import HEAD as WORKER_HEAD
from osqueue_cli.commands.workers import row as worker_row
from osqueue_cli.commands.workers import seen
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.params import DURATION
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.messages import JobEvent
    from osqueue.stats import Stats

EVENTS_KEPT = 200
SAMPLES_KEPT = 120
WORKERS_EVERY_S = 2.0
WORKERS_SHOWN = 10
TYPES_SHOWN = 12
BLOCKS = "▁▂▃▄▅▆▇█"


@click.command()
@click.option("--every", "interval_ms", type=DURATION, default="1s", show_default=True, help="How often to look.")
@connection_options
def top(connection: Connection, as_json: bool, interval_ms: int) -> None:
    """Watch the queue live.

    Shows types, workers, rates and events until Ctrl-C. Without a terminal, or with
    --json, it writes one line of figures at each interval.
    """
    board = _Board()
    if as_json or not sys.stdout.isatty():
        connection.run(lambda client: _lines(client, interval_ms, as_json))
    else:
        asyncio.run(_screen(connection, board, interval_ms))


async def _lines(client: "OsqueueClient", interval_ms: int, as_json: bool) -> None:
    from osqueue import Stats

    async for event in client.watch(stats_interval_ms=interval_ms):
        if not isinstance(event, Stats):
            continue
        if as_json:
            output.print_json_line(to_json(event))
            continue
        counts, rates = event.counts, event.rates
        output.say(
            f"{time.strftime('%H:%M:%S')}  waiting {counts.unclaimed:,}  scheduled {counts.scheduled:,}"
            + (f"  blocked {counts.blocked:,}" if counts.blocked else "")
            + f"  running {counts.in_progress:,}  dead {counts.dead:,}  completed {counts.completed_total:,}"
            f"  {rates.submitted:,.1f} in/s  {rates.completed:,.1f} out/s"
        )
        sys.stdout.flush()


class _Board:
    """What the screen shows."""

    def __init__(self) -> None:
        self.stats: Stats | None = None
        self.workers: list[Any] = []
        self.events: deque[JobEvent] = deque(maxlen=EVENTS_KEPT)
        self.done_per_s: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self.trouble = ""
        self._last: tuple[float, int] | None = None

    def sample(self, stats: "Stats") -> None:
        """New figures: keep them, and the rate since the last ones."""
        self.stats, self.trouble = stats, ""
        now, done = time.monotonic(), stats.counts.completed_total
        if self._last is not None:
            before_s, before = self._last
            self.done_per_s.append(max(0, done - before) / max(now - before_s, 0.001))
        self._last = (now, done)


async def _screen(connection: Connection, board: _Board, interval_ms: int) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(
        get_renderable=lambda: _frame(board, console.width, console.height),
        console=console, screen=True, auto_refresh=False,
    ) as live:  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_keep_watching(connection, board, interval_ms, live))
            tasks.create_task(_keep_asking_for_workers(connection, board))


async def _keep_watching(connection: Connection, board: _Board, interval_ms: int, live: Any) -> None:
    from osqueue import OsqueueError
    from osqueue.messages import JobEvent
    from osqueue.stats import Stats

    while True:
        try:
            async with connection.client() as client:
                async for event in client.watch(stats_interval_ms=interval_ms):
                    if isinstance(event, Stats):
                        board.sample(event)
                        live.refresh()
                    elif isinstance(event, JobEvent):
                        board.events.append(event)
        except OsqueueError as error:
            # A screen that stays is of more use than one that ends with the first failover.
            board.trouble = error.message
            live.refresh()
            await asyncio.sleep(1.0)


async def _keep_asking_for_workers(connection: Connection, board: _Board) -> None:
    from osqueue import OsqueueError

    async with connection.client() as client:
        while True:
            try:
                board.workers = await seen(client)
            except OsqueueError as error:
                board.trouble = error.message
            await asyncio.sleep(WORKERS_EVERY_S)


def _frame(board: _Board, width: int, height: int) -> Any:
    from rich.console import Group
    from rich.text import Text

    stats = board.stats
    if stats is None:
        return Text(output.first_line(board.trouble) or "looking …", "red" if board.trouble else "dim")
    counts, rates = stats.counts, stats.rates
    head = Text.assemble(
        ("osqueue top  ", "bold"),
        (f"epoch {stats.position.epoch}, commit {stats.position.sequence:,}  " if stats.position else "", "dim"),
        ("waiting ", "dim"), (f"{counts.unclaimed:,}  ", "cyan"), ("scheduled ", "dim"), f"{counts.scheduled:,}  ",
        *((("blocked ", "dim"), f"{counts.blocked:,}  ") if counts.blocked else ()),
        ("running ", "dim"), (f"{counts.in_progress:,}  ", "yellow"),
        ("done ", "dim"), (f"{counts.completed_total:,}  ", "green"),
        ("dead ", "dim"), (f"{counts.dead:,}", "red" if counts.dead else ""),
    )  # fmt: skip
    now = board.done_per_s[-1] if board.done_per_s else 0.0
    curve = Text.assemble(
        (f"{now:8,.0f} done/s  ", "bold"), (sparkline(board.done_per_s, width - 60), "green"),
        (f"  last minute: {rates.submitted:,.1f} in/s, {rates.failed:,.1f} failed/s", "dim"),
    )  # fmt: skip
    parts: list[Any] = [head, curve]
    if board.trouble:
        parts.append(Text(output.first_line(board.trouble), "bold red"))
    types = sorted(stats.types, key=lambda each: each.counts.total, reverse=True)[:TYPES_SHOWN]
    parts += [Text(), _table(HEAD, [type_row(each) for each in types])]
    workers = sorted(board.workers, key=lambda each: (-each.leases, each.worker_id))[:WORKERS_SHOWN]
    parts += [Text(), _table(WORKER_HEAD, [worker_row(each) for each in workers])]
    room = height - len(parts) - len(types) - len(workers) - 4
    parts += [Text(), *(_event(event) for event in list(board.events)[-max(0, room) :])]
    return Group(*parts)


def _table(head: list[str], rows: list[list[str]]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for name in head:
        table.add_column(name, no_wrap=True)
    for cells in rows:
        table.add_row(*(output.first_line(cell) for cell in cells))
    return table


def _event(event: "JobEvent") -> Any:
    from rich.text import Text

    why = f"  {event.error.type}: {event.error.message}" if event.error else ""
    told = f"{output.timestamp(event.at)[11:]}  {event.kind:<10}  {event.job_id}  {event.type}  {event.worker_id}{why}"
    return Text(output.first_line(told), output.STATUS_COLOURS.get(event.status, ""), no_wrap=True, overflow="ellipsis")


def sparkline(values: "deque[float]", columns: int) -> str:
    """The values as a line of blocks, the latest at the right, the highest as a full block."""
    shown = list(values)[-max(1, columns) :]
    most = max(shown, default=0.0)
    if not most:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(value / most * (len(BLOCKS) - 1) + 0.5))] for value in shown)

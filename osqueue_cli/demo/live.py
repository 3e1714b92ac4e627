"""The demo in a terminal: the picture as its tiles arrive, bars, rates and events."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from osqueue_cli.demo.tally import EVENTS_SHOWN, Event, Tally

FRAMES_PER_S = 8
SIDE_COLUMNS = 26
BAR_COLUMNS = 24
MOODS = {"starting": ("○", "yellow"), "serving": ("●", "green"), "killed": ("✖", "red")}
KINDS = {"info": "default", "good": "green", "bad": "bold red"}


def fits(console: Console, tally: Tally) -> bool:
    """Whether the terminal has room for the picture and what stands beside and under it."""
    return (
        console.width >= tally.grid.columns + 4 + SIDE_COLUMNS
        and console.height >= tally.grid.rows + EVENTS_SHOWN + 4
    )  # fmt: skip


class LiveView:
    """Redraws itself a few times a second."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self._tally = tally
        self._console = console
        self._live = Live(
            get_renderable=self._frame, console=console, refresh_per_second=FRAMES_PER_S, auto_refresh=False
        )
        self._drawn_s = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.refresh()
        self._live.stop()

    def happened(self, event: Event) -> None:
        self._live.refresh()

    def refresh(self) -> None:
        if self._tally.elapsed_s - self._drawn_s >= 1 / FRAMES_PER_S:
            self._drawn_s = self._tally.elapsed_s
            self._live.refresh()

    def _frame(self) -> RenderableType:
        events = self._events()
        if not fits(self._console, self._tally):
            return Group(self._side(), events)
        columns = Table.grid(padding=(0, 1))
        columns.add_column(width=self._tally.grid.columns + 4)
        columns.add_column(width=SIDE_COLUMNS)
        columns.add_row(
            Panel(self._picture(), title=f"{self._tally.grid.tiles:,} tiles, one job each", border_style="dim"),
            self._side(),
        )
        return Group(columns, events)

    def _picture(self) -> Text:
        tally, picture = self._tally, Text(no_wrap=True)
        for row in range(tally.grid.rows):
            for column in range(tally.grid.columns):
                halves = tally.tiles.get(row * tally.grid.columns + column)
                if halves is None:
                    picture.append("·", style="bright_black")
                else:
                    upper, lower = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in halves)
                    picture.append("▀", style=f"{upper} on {lower}")
            picture.append("\n")
        picture.rstrip()
        return picture

    def _side(self) -> RenderableType:
        tally = self._tally
        sign, colour = MOODS[tally.broker]
        broker = Text.assemble(
            (f"{sign} ", colour), ("broker ", "bold"), (tally.broker, colour),
            (f"\n  pid {tally.broker_pid}" if tally.broker_pid else "", "dim"),
            (f", epoch {tally.epoch}" if tally.epoch else "", "dim"),
        )  # fmt: skip
        return Group(
            Text(),
            broker,
            Text.assemble(("● ", "green"), (f"{tally.workers} workers", "bold")),
            Text(),
            *self._bar("submitted", tally.submitted, "cyan"),
            Text(),
            *self._bar("done", tally.completed, "green"),
            Text(),
            Text.assemble(("running ", "dim"), f"{tally.leased:,}", ("  waiting ", "dim"), f"{tally.waiting:,}"),
            Text(),
            Text.assemble((f"{tally.rate:,.0f}", "bold"), (" jobs/s", "dim")),
            Text.assemble((f"{tally.elapsed_s:.1f} s", "dim")),
        )

    def _bar(self, name: str, value: int, colour: str) -> tuple[RenderableType, RenderableType]:
        return (
            Text.assemble((f"{name} ", "dim"), f"{value:,}", (f" of {self._tally.jobs:,}", "dim")),
            ProgressBar(total=self._tally.jobs, completed=value, width=BAR_COLUMNS, complete_style=colour),
        )

    def _events(self) -> Text:
        lines = [
            Text.assemble((f"{event.at_s:5.1f} s  ", "dim"), (event.text, KINDS[event.kind]), no_wrap=True)
            for event in self._tally.events
        ]
        blank = [Text() for _ in range(EVENTS_SHOWN - len(lines))]
        return Text("\n", no_wrap=True, overflow="ellipsis").join([*lines, *blank])

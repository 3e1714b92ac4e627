"""The demo's two kinds of jobs, as an application would write them: types first, then the work.

`tile` computes a piece of a picture and returns its pixels. `receipt` writes a letter to an
outbox; like any handler of an at-least-once queue it may run twice, so it writes under a name
that is the job's own, and the second time changes nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from osqueue import JobContext, Registry
from osqueue_cli.demo.picture import Grid, render_tile

OUTBOX = "OSQUEUE_DEMO_OUTBOX"
"""The environment variable that tells the workers where letters go."""


@dataclass
class Tile:
    """Which piece of the picture: its column and row in a grid."""

    columns: int
    rows: int
    column: int
    row: int


@dataclass
class Order:
    """What was bought, in cents."""

    number: int
    customer: str
    prices: list[int]


@dataclass
class Letter:
    """What became of a receipt."""

    file: str
    total: int


registry = Registry()
tile = registry.job("tile", Tile, bytes)
receipt = registry.job("receipt", Order, Letter)


def paint(piece: Tile) -> bytes:
    """Compute the pixels of one tile."""
    return render_tile(Grid(piece.columns, piece.rows), piece.column, piece.row)


async def write_receipt(order: Order, context: JobContext) -> Letter:
    """Write the letter for one order."""
    lines = [f"{number:>3}  {price / 100:>10.2f}" for number, price in enumerate(order.prices, 1)]
    total = sum(order.prices)
    head = [f"Dear {order.customer},", "", f"order {order.number}:"]
    text = "\n".join([*head, *lines, f"     {total / 100:>10.2f}", ""])
    file = Path(os.environ[OUTBOX]) / f"{context.job_id}.txt"
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)
    return Letter(file.name, total)

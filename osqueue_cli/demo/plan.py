"""What the demo is going to do: how many jobs of which kind, and when who is killed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osqueue_cli.demo.picture import Grid

if TYPE_CHECKING:
    from osqueue.job import JobSpec

WORKERS = 2
LEASE_MS = 3_000
"""Short, so that the jobs of the killed worker soon run elsewhere."""
BATCH_JOBS = 50
SUBMITTED_PER_S = 400
CUSTOMERS = ("Ada", "Grace", "Edsger", "Barbara", "Alan", "Radia", "Leslie", "Frances", "Donald", "Margaret")


@dataclass(frozen=True, slots=True)
class Plan:
    """The demo's script. `jobs` is at least 2: half of them tiles, half receipts."""

    jobs: int
    directory: Path

    @property
    def grid(self) -> Grid:
        return Grid.of(self.jobs // 2)

    @property
    def broker_dies_at(self) -> int:
        """How many jobs are done when the broker is killed."""
        return self.jobs * 35 // 100

    @property
    def worker_dies_at(self) -> int:
        """How many jobs are done when a worker is killed."""
        return self.jobs * 65 // 100

    @property
    def queue(self) -> Path:
        return self.directory / "queue"

    @property
    def outbox(self) -> Path:
        return self.directory / "outbox"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def picture(self) -> Path:
        return self.directory / "picture.png"

    def specs(self) -> "Iterator[JobSpec]":
        """The jobs, tiles and receipts in turn; tiles from the middle of the picture outwards."""
        from osqueue.submission import new_job
        from osqueue_cli.demo.handlers import Order, Tile, receipt, tile

        grid = self.grid
        middle = ((grid.columns - 1) / 2, (grid.rows - 1) / 2)
        places = sorted(
            ((column, row) for row in range(grid.rows) for column in range(grid.columns)),
            key=lambda place: (place[0] - middle[0]) ** 2 + (2 * (place[1] - middle[1])) ** 2,
        )
        for number in range(max(len(places), self.jobs - len(places))):
            if number < len(places):
                column, row = places[number]
                yield new_job(tile, Tile(grid.columns, grid.rows, column, row), lease_ms=LEASE_MS)
            if number < self.jobs - len(places):
                customer = CUSTOMERS[number % len(CUSTOMERS)]
                prices = [100 + (number * 37 + item * 1_009) % 9_900 for item in range(1 + number % 4)]
                yield new_job(receipt, Order(1_000 + number, customer, prices), lease_ms=LEASE_MS)

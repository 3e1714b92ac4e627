"""The demo's parts: its picture, its plan, its verdict and its plain view."""

import struct
import zlib
from collections import Counter

import pytest

from osqueue.job import Attempt, Job
from osqueue_cli.demo.handlers import receipt, tile
from osqueue_cli.demo.picture import TILE_HEIGHT, TILE_WIDTH, Grid, halves, png, render_tile
from osqueue_cli.demo.plan import Plan
from osqueue_cli.demo.tally import Event, Tally
from osqueue_cli.demo.verdict import judge
from osqueue_cli.demo.view import LineView


@pytest.mark.parametrize(("tiles", "grid"), [(1, (1, 1)), (10, (5, 2)), (1_000, (50, 20)), (50_000, (354, 141))])
def test_a_grid_fits_its_tiles(tiles, grid):
    assert Grid.of(tiles) == grid
    assert Grid.of(tiles).tiles <= tiles


def test_the_picture_is_a_png_of_the_right_size():
    grid = Grid(2, 1)
    data = png(grid, [render_tile(grid, 0, 0), b""])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (2 * TILE_WIDTH, TILE_HEIGHT)
    start = data.index(b"IDAT")
    (size,) = struct.unpack(">I", data[start - 4 : start])
    lines = zlib.decompress(data[start + 4 : start + 4 + size])
    assert len(lines) == TILE_HEIGHT * (1 + 2 * TILE_WIDTH)


def test_tiles_differ_and_are_reproducible():
    grid = Grid(4, 2)
    tiles = [render_tile(grid, column, row) for row in range(2) for column in range(4)]
    assert len(set(tiles)) == 8
    assert render_tile(grid, 3, 1) == tiles[-1]
    assert all(0 <= channel <= 255 for colour in halves(tiles[0]) for channel in colour)


@pytest.mark.parametrize("jobs", [20, 2_000, 2_001])
def test_the_plan_makes_all_jobs_and_every_tile_once(jobs, tmp_path):
    plan = Plan(jobs, tmp_path)
    specs = list(plan.specs())
    assert len(specs) == jobs
    assert set(Counter(spec.type for spec in specs)) == {tile.name, receipt.name}
    pieces = [tile.decode_payload(spec.payload) for spec in specs if spec.type == tile.name]
    assert sorted((piece.row, piece.column) for piece in pieces) == [
        (row, column) for row in range(plan.grid.rows) for column in range(plan.grid.columns)
    ]
    assert 0 < plan.broker_dies_at < plan.worker_dies_at < jobs


class Answers:
    """A client that knows the jobs it is given."""

    def __init__(self, *jobs):
        self.jobs = {job.id: job for job in jobs}

    async def get_job(self, job_id):
        from osqueue import JobNotFoundError

        if job_id not in self.jobs:
            raise JobNotFoundError(job_id)
        return self.jobs[job_id]


def ended(job_id, *outcomes, status="completed"):
    history = [Attempt(n, "w", 1, 2, outcome) for n, outcome in enumerate(outcomes, 1)]
    return Job(job_id, status, history=history, attempt_number=len(history), result=b"r")


async def test_the_verdict_on_a_good_run():
    client = Answers(ended("a", "completed"), ended("b", "expired", "completed"))
    verdict = await judge(client, ["a", "b"], {"a": 1, "b": 2})
    assert verdict.sound
    assert (verdict.completed, verdict.repeated, verdict.ran_again) == (2, 1, 1)
    assert verdict.broken_off == {"expired": 1}


async def test_a_lost_job_is_seen():
    verdict = await judge(Answers(ended("a", "completed")), ["a", "gone"], {})
    assert not verdict.sound
    assert verdict.lost == ["gone"]


async def test_an_unfinished_job_is_seen():
    verdict = await judge(Answers(ended("a", "running", status="in_progress")), ["a"], {})
    assert not verdict.sound
    assert verdict.lost == ["a"]


async def test_a_job_completed_twice_is_seen():
    verdict = await judge(Answers(ended("a", "completed", "completed")), ["a"], {})
    assert not verdict.sound
    assert verdict.twice == ["a"]


def test_the_plain_view_tells_events(capsys):
    tally = Tally(10, Grid(1, 1))
    with LineView(tally) as view:
        view.happened(Event(1.25, "bad", "kill -9"))
    assert capsys.readouterr().out == "   1.2 s ! kill -9\n"


def test_the_live_view_paints_what_has_arrived():
    from rich.console import Console

    from osqueue_cli.demo.live import LiveView

    tally = Tally(2_000, Grid(50, 20), broker="serving", submitted=1_500, completed=700)
    tally.tiles[0] = ((1, 2, 3), (4, 5, 6))
    tally.events.append(Event(0.5, "good", "the broker serves"))
    for width, height, has_picture in ((100, 40, True), (60, 20, False)):
        console = Console(
            width=width, height=height, force_terminal=True, color_system="truecolor", legacy_windows=False
        )
        with console.capture() as capture:
            console.print(LiveView(tally, console)._frame())
        assert ("38;2;1;2;3" in capture.get()) is has_picture
        assert "700" in capture.get()
        assert "the broker serves" in capture.get()

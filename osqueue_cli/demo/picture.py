"""The picture that the demo's jobs paint: a piece of the Mandelbrot set, cut into tiles, one job each.

A lost job is a hole in the picture, for everyone to see.
"""

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from math import log2
from typing import NamedTuple

ITERATIONS_MAX = 160
TILE_WIDTH = 12
TILE_HEIGHT = 24
"""In pixels. A tile is one character of a terminal, which is about twice as high as wide."""

CENTRE = (-0.7436, 0.1318)
SPAN = 0.0065
"""Width of the piece, on the real axis."""

INSIDE = 255
"""The value of a pixel that belongs to the set; all others are colours 0 to 254."""


class Grid(NamedTuple):
    """How the picture is cut."""

    columns: int
    rows: int

    @property
    def tiles(self) -> int:
        return self.columns * self.rows

    @classmethod
    def of(cls, tiles_max: int) -> "Grid":
        """The largest grid of about 5:2 with at most `tiles_max` tiles."""
        rows = max(1, round((tiles_max * 0.4) ** 0.5))
        return cls(max(1, tiles_max // rows), rows)


Colour = tuple[int, int, int]


def render_tile(grid: Grid, column: int, row: int) -> bytes:
    """The tile's pixels, row by row, one byte each."""
    step = SPAN / (grid.columns * TILE_WIDTH)
    left = CENTRE[0] - SPAN / 2 + column * TILE_WIDTH * step
    top = CENTRE[1] + (grid.rows * TILE_HEIGHT / 2 - row * TILE_HEIGHT) * step
    return bytes(
        _pixel(left + x * step, top - y * step)
        for y in range(TILE_HEIGHT)
        for x in range(TILE_WIDTH)
    )  # fmt: skip


def _pixel(re: float, im: float) -> int:
    """How fast the point escapes, as a colour's number."""
    x = y = 0.0
    for n in range(ITERATIONS_MAX):
        xx, yy = x * x, y * y
        if xx + yy > 256.0:
            smooth = n + 1 - log2(log2(xx + yy) / 2)
            return min(INSIDE - 1, int(INSIDE * (smooth / ITERATIONS_MAX) ** 0.6))
        x, y = xx - yy + re, 2.0 * x * y + im
    return INSIDE


@lru_cache(maxsize=1)
def palette() -> Sequence[Colour]:
    """From deep blue over white and gold; black inside the set."""
    stops: list[tuple[float, Colour]] = [
        (0.0, (0, 7, 70)), (0.25, (32, 107, 203)), (0.45, (237, 255, 255)),
        (0.65, (255, 170, 0)), (0.85, (110, 20, 30)), (1.0, (0, 7, 70)),
    ]  # fmt: skip
    colours = []
    for n in range(INSIDE):
        at = (n / INSIDE * 2.2) % 1.0
        upper = next(i for i, (place, _) in enumerate(stops) if place >= at and i > 0)
        (low, a), (high, b) = stops[upper - 1], stops[upper]
        part = (at - low) / (high - low)
        colours.append((_mix(a[0], b[0], part), _mix(a[1], b[1], part), _mix(a[2], b[2], part)))
    return [*colours, (0, 0, 0)]


def _mix(a: int, b: int, part: float) -> int:
    return round(a + (b - a) * part)


def halves(tile: bytes) -> tuple[Colour, Colour]:
    """The mean colours of the tile's upper and lower half: two pixels of a terminal."""
    middle = len(tile) // 2
    return _mean(tile[:middle]), _mean(tile[middle:])


def _mean(pixels: bytes) -> Colour:
    colours = palette()
    count = max(1, len(pixels))
    red, green, blue = (sum(colours[pixel][channel] for pixel in pixels) // count for channel in range(3))
    return red, green, blue


def png(grid: Grid, tiles: Sequence[bytes]) -> bytes:
    """The picture as a PNG file; `tiles` in order, row by row. A tile of no bytes stays a hole."""
    width, height = grid.columns * TILE_WIDTH, grid.rows * TILE_HEIGHT
    hole = bytes([INSIDE]) * (TILE_WIDTH * TILE_HEIGHT)
    lines = bytearray()
    for y in range(height):
        row, line = divmod(y, TILE_HEIGHT)
        lines.append(0)  # each line says that it is not filtered
        for column in range(grid.columns):
            tile = tiles[row * grid.columns + column] or hole
            lines += tile[line * TILE_WIDTH : (line + 1) * TILE_WIDTH]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, each the number of a colour
    colours = bytes(channel for colour in palette() for channel in colour)
    chunks = [(b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(bytes(lines), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

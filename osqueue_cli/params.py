"""Option values with units: durations as people write them, moments, labels."""

import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from osqueue.job import Limit

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def duration_ms(text: str) -> int | None:
    """The milliseconds of "250ms", "30s", "5m", "2h", "7d"; None when it is none."""
    match = _DURATION.fullmatch(text.strip())
    return round(float(match[1]) * _UNITS_MS[match[2]]) if match else None


class Duration(click.ParamType[int]):
    """A duration with its unit, in milliseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        ms = duration_ms(str(value))
        if ms is None:
            self.fail(f"{value!r} is not a duration; write it with its unit: 250ms, 30s, 5m, 2h, 7d", param, ctx)
        return ms


class Moment(click.ParamType[int]):
    """A point in time, as milliseconds since the epoch: an ISO date or date and time (local unless it names its zone),
    or a duration counted back from now (`past`) or ahead."""

    name = "moment"

    def __init__(self, *, past: bool) -> None:
        self._sign = -1 if past else 1

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        ms = duration_ms(str(value))
        if ms is not None:
            return int(time.time() * 1_000) + self._sign * ms
        try:
            return int(datetime.fromisoformat(str(value)).timestamp() * 1_000)
        except ValueError:
            away = "ago" if self._sign < 0 else "from now"
            self.fail(f"{value!r} is not a time; write 2030-01-31, 2030-01-31T09:00, or 5m, 2h, 7d {away}", param, ctx)


class Label(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "label"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, label = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not a label; write KEY=VALUE", param, ctx)
        return key, label


class LimitUse(click.ParamType["Limit"]):
    """NAME, NAME:KEY, NAME:KEY*COST."""

    name = "limit"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> "Limit":
        from osqueue.job import Limit

        if isinstance(value, Limit):
            return value
        text, star, cost = str(value).rpartition("*")
        name, _, key = (text if star else cost).partition(":")
        if not name or (star and not cost.isdigit()):
            self.fail(f"{value!r} is not a limit; write NAME, NAME:KEY or NAME:KEY*COST", param, ctx)
        return Limit(name, key, int(cost) if star else 1)


DURATION = Duration()
PAST = Moment(past=True)
FUTURE = Moment(past=False)
LABEL = Label()
LIMIT = LimitUse()


def labels(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The labels as a mapping; the last of several values counts."""
    return dict(pairs)

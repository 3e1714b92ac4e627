"""When something is to happen: the moment after, and the moment before, any other."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from osqueue_service.timetable.cron import Cron, parse
from osqueue_service.timetable.zones import zone

YEARS_AHEAD = 40
"""How far ahead a cron expression is looked for: as long as a leap day may take to fall on the same weekday again."""

_DAYS_AHEAD = 366 * YEARS_AHEAD
_LAST_DAY = date(9000, 1, 1)
_FIRST_DAY = date(1970, 1, 1)


class Gap(IntEnum):
    """What becomes of a time that the clocks leave out."""

    UNSPECIFIED = 0
    """AFTER where the expression names hours, SKIP where the hour is `*`."""
    AFTER = 1
    """Once, at the first moment after the gap."""
    SKIP = 2


class Repeat(IntEnum):
    """What becomes of a time that the clocks show twice."""

    UNSPECIFIED = 0
    """FIRST where the expression names hours, BOTH where the hour is `*`."""
    FIRST = 1
    SECOND = 2
    BOTH = 3


class Timetable(Protocol):
    """Moments in milliseconds since 1970-01-01 UTC."""

    def after(self, at_ms: int) -> int | None:
        """The first moment later than `at_ms`; None when there is none."""

    def latest(self, at_ms: int) -> int | None:
        """The last moment that is not later than `at_ms`; None when there is none."""


class Interval:
    """Every so often from an anchor on, in physical time: it never drifts, and no clock change moves it."""

    def __init__(self, every_ms: int, anchor_ms: int) -> None:
        self._every_ms = every_ms
        self._anchor_ms = anchor_ms % every_ms

    def after(self, at_ms: int) -> int:
        return self.latest(at_ms) + self._every_ms

    def latest(self, at_ms: int) -> int:
        return at_ms - (at_ms - self._anchor_ms) % self._every_ms


class Calendar:
    """A cron expression in a time zone."""

    def __init__(self, cron: Cron, zone: ZoneInfo, gap: Gap, repeat: Repeat) -> None:
        self._cron = cron
        self._zone = zone
        gap = gap or (Gap.AFTER if cron.fixed_hours else Gap.SKIP)
        repeat = repeat or (Repeat.FIRST if cron.fixed_hours else Repeat.BOTH)
        self._after_gaps = gap is Gap.AFTER
        # Thousands of schedules of one expression are asked for the same moment after each other.
        self._answered: tuple[int, int | None] = (-1, None)
        self._folds = {Repeat.FIRST: (0,), Repeat.SECOND: (1,), Repeat.BOTH: (0, 1)}[repeat]

    def after(self, at_ms: int) -> int | None:
        asked, answer = self._answered
        if asked != at_ms:
            found = [moment for fold in self._folds if (moment := self._after(at_ms, fold)) is not None]
            answer = min(found, default=None)
            self._answered = (at_ms, answer)
        return answer

    def latest(self, at_ms: int) -> int | None:
        found = [moment for fold in self._folds if (moment := self._latest(at_ms, fold)) is not None]
        return max(found, default=None)

    def _after(self, at_ms: int, fold: int) -> int | None:
        shown, twice = self._shown(at_ms)
        for local in self._upwards(shown - twice):
            moment = self._moment(local, fold)
            if moment is not None and moment > at_ms:
                return moment
        return None

    def _latest(self, at_ms: int, fold: int) -> int | None:
        shown, twice = self._shown(at_ms)
        for local in self._downwards(shown + twice):
            moment = self._moment(local, fold)
            if moment is not None and moment <= at_ms:
                return moment
        return None

    def _shown(self, at_ms: int) -> tuple[datetime, timedelta]:
        """What the clocks show then, and by how much they are put back where they show it twice."""
        there = datetime.fromtimestamp(at_ms // 1_000, UTC).astimezone(self._zone)
        offset = there.utcoffset()
        other = there.replace(fold=1 - there.fold).utcoffset()
        assert offset is not None and other is not None
        return there.replace(tzinfo=None, fold=0), abs(offset - other)

    def _moment(self, local: datetime, fold: int) -> int | None:
        """When the clocks show this; the end of the gap where they never do."""
        first, second = (self._read(local, 0), self._read(local, 1))
        if first == second:
            return first
        if first < second:
            return second if fold else first
        return self._gap_end(second, first) if self._after_gaps else None

    def _read(self, local: datetime, fold: int) -> int:
        offset = local.replace(tzinfo=self._zone, fold=fold).utcoffset()
        assert offset is not None
        return (local - _EPOCH - offset) // _ONE_MS

    def _gap_end(self, before_ms: int, after_ms: int) -> int:
        """The moment between the two at which the clocks are put forward."""
        early, late = before_ms // 1_000, after_ms // 1_000
        offset = datetime.fromtimestamp(early, self._zone).utcoffset()
        while late - early > 1:
            middle = (early + late) // 2
            if datetime.fromtimestamp(middle, self._zone).utcoffset() == offset:
                early = middle
            else:
                late = middle
        return late * 1_000

    def _upwards(self, start: datetime) -> Iterator[datetime]:
        """What the expression names from then on, as clocks show it."""
        cron, day = self._cron, start.date()
        last = min(day + timedelta(days=_DAYS_AHEAD), _LAST_DAY)
        earliest = start.hour * 60 + start.minute
        while day < last:
            if day.month not in cron.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                earliest = 0
                continue
            if cron.matches(day):
                for hour in cron.hours:
                    if hour * 60 + 59 >= earliest:
                        for minute in cron.minutes:
                            if hour * 60 + minute >= earliest:
                                yield datetime(day.year, day.month, day.day, hour, minute)
            day += _ONE_DAY
            earliest = 0

    def _downwards(self, start: datetime) -> Iterator[datetime]:
        cron, day = self._cron, start.date()
        first = max(day - timedelta(days=_DAYS_AHEAD), _FIRST_DAY)
        latest = start.hour * 60 + start.minute
        while day > first:
            if day.month not in cron.months:
                day = day.replace(day=1) - _ONE_DAY
                latest = _END_OF_DAY
                continue
            if cron.matches(day):
                for hour in reversed(cron.hours):
                    if hour * 60 <= latest:
                        for minute in reversed(cron.minutes):
                            if hour * 60 + minute <= latest:
                                yield datetime(day.year, day.month, day.day, hour, minute)
            day -= _ONE_DAY
            latest = _END_OF_DAY


_EPOCH = datetime(1970, 1, 1)
_ONE_MS = timedelta(milliseconds=1)
_ONE_DAY = timedelta(days=1)
_END_OF_DAY = 24 * 60


@lru_cache(10_000)
def calendar(
    expression: str, time_zone: str, gap: Gap = Gap.UNSPECIFIED, repeat: Repeat = Repeat.UNSPECIFIED
) -> Calendar:
    """The timetable of an expression in a zone. Raises `BadCron` or `UnknownZone`."""
    return Calendar(parse(expression), zone(time_zone), gap, repeat)

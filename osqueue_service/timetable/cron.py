"""Cron expressions of five fields, read into the minutes, hours, days, months and weekdays that they name."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

from osqueue_service.timetable.field import BadCron, Bounds, read_field

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""Names for common expressions, with what each stands for."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

MINUTE = Bounds("minute", 0, 59)
HOUR = Bounds("hour", 0, 23)
DAY = Bounds("day of month", 1, 31)
MONTH = Bounds("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
WEEKDAY = Bounds("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)})

_NTH = re.compile(r"([0-9A-Z]+)#([0-9]+)")
_LAST = re.compile(r"([0-9A-Z]+)L")
LAST = -1
"""Stands for the last of its kind in a month, as the number of a day or of a week."""


@dataclass(frozen=True, slots=True)
class Cron:
    """One expression. Minutes and hours are ascending; weekdays go from 0 (Sunday) to 6."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    """(weekday, which of the month), `LAST` for the last."""
    either: bool
    """Day of month and day of week are both restricted: a day that either names is meant, as in every cron."""
    fixed_hours: bool
    """The hour field names hours, so that a night on which clocks change needs a rule."""

    def matches(self, day: date) -> bool:
        """Whether it names this day."""
        if day.month not in self.months:
            return False
        by_day, by_week = self._by_day(day), self._by_weekday(day)
        return by_day or by_week if self.either else by_day and by_week

    def _by_day(self, day: date) -> bool:
        return day.day in self.days or (
            LAST in self.days and day.day >= 28 and day.day == monthrange(day.year, day.month)[1]
        )

    def _by_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday in self.weekdays:
            return True
        if not self.nth_weekdays:
            return False
        if (weekday, (day.day + 6) // 7) in self.nth_weekdays:
            return True
        return (weekday, LAST) in self.nth_weekdays and (day + timedelta(days=7)).month != day.month


def parse(expression: str) -> Cron:
    """The expression, or `BadCron` saying which field is wrong and what would be right."""
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise BadCron(f"{text[:40]!r} is not known; the names are {', '.join(sorted(MACROS))}")
        text = MACROS[text.lower()]
    fields = text.upper().split()
    if len(fields) != 5:
        raise BadCron(_wrong_count(fields))
    minute, hour, day, month, weekday = fields
    days = frozenset(LAST if part == "L" else None for part in day.split(",")) - {None}
    plain_days = ",".join(part for part in day.split(",") if part != "L")
    named = read_field(plain_days, DAY) if plain_days else frozenset()
    weekdays, nth = _weekdays(weekday)
    cron = Cron(
        minutes=tuple(sorted(read_field(minute, MINUTE))),
        hours=tuple(sorted(read_field(hour, HOUR))),
        days=named | frozenset(value for value in days if value is not None),
        months=read_field(month, MONTH),
        weekdays=weekdays,
        nth_weekdays=nth,
        either=not day.startswith("*") and not weekday.startswith("*"),
        fixed_hours=not hour.startswith("*"),
    )
    _check_ever(cron, expression)
    return cron


def _wrong_count(fields: list[str]) -> str:
    if len(fields) == 6:
        return (
            "has six fields; seconds and years are not supported: use five (minute hour day month weekday), or "
            "every_ms for less than a minute"
        )
    return f"has {len(fields)} fields; it must have five: minute hour day-of-month month day-of-week"


def _weekdays(text: str) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    plain: list[str] = []
    nth: set[tuple[int, int]] = set()
    for part in text.split(","):
        if match := _NTH.fullmatch(part):
            which = int(match[2])
            if not 1 <= which <= 5:
                raise BadCron(f"day of week: {part!r} asks for the {which}. of a month; it must be from 1 to 5")
            nth.add((_one_weekday(match[1]), which))
        elif match := _LAST.fullmatch(part):
            nth.add((_one_weekday(match[1]), LAST))
        else:
            plain.append(part)
    days = read_field(",".join(plain), WEEKDAY) if plain else frozenset()
    return frozenset(day % 7 for day in days), frozenset(nth)


def _one_weekday(text: str) -> int:
    (day,) = read_field(text, WEEKDAY)
    return day % 7


_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _check_ever(cron: Cron, expression: str) -> None:
    """A day of month alone may be one that its months do not have, such as 30 February: refused, for it never fires."""
    if cron.either or LAST in cron.days:
        return
    if min(cron.days) > max(_LONGEST[month - 1] for month in cron.months):
        raise BadCron(f"{expression.strip()!r} never fires: none of its months has such a day")

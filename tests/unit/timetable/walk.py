"""What a timetable must answer, worked out the long way: minute by minute, as a clock on the wall shows them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from osqueue_service.timetable.cron import Cron


def walk(cron: Cron, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every moment from `begin` to before `end` (UTC, whole minutes) at which the expression fires by default.

    A clock goes on minute by minute. When it is put forward, the named times that it left out are due at once;
    when it is put back, named hours are not due a second time.
    """
    shown_up_to: datetime | None = None
    now = begin
    while now < end:
        shown = now.astimezone(zone).replace(tzinfo=None, fold=0)
        if shown_up_to is None:
            before = (now - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None, fold=0)
            shown_up_to = before
        if cron.fixed_hours:
            left_out = shown_up_to + timedelta(minutes=1)
            fires = False
            while left_out <= shown:
                fires = fires or names(cron, left_out)
                left_out += timedelta(minutes=1)
            shown_up_to = max(shown_up_to, shown)
        else:
            fires = names(cron, shown)
        if fires:
            yield now
        now += timedelta(minutes=1)


def names(cron: Cron, shown: datetime) -> bool:
    return shown.minute in cron.minutes and shown.hour in cron.hours and cron.matches(shown.date())


def utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1_000, UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000


def transitions(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """When the zone's offset changes, to the hour before."""
    now, offset = begin, begin.astimezone(zone).utcoffset()
    while now < end:
        now += timedelta(hours=6)
        then = now.astimezone(zone).utcoffset()
        if then != offset:
            yield now - timedelta(hours=6)
            offset = then

"""When schedules fire: the two nights on which clocks change, intervals, and an independent walk over the minutes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.timetable.cron import parse
from osqueue_service.timetable.timetable import Gap, Interval, Repeat, Timetable, calendar
from osqueue_service.timetable.zones import UnknownZone, names, zone
from tests.unit.timetable.walk import ms, transitions, utc, walk

NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"


def local(text: str, time_zone: str) -> int:
    return ms(datetime.fromisoformat(text).replace(tzinfo=zone(time_zone)))


def fires(table: Timetable, after: int, until: int) -> list[int]:
    found = []
    while (moment := table.after(after)) is not None and moment < until:
        found.append(moment)
        after = moment
    return found


@pytest.mark.parametrize(
    ("expression", "time_zone", "day", "fired"),
    [
        ("30 2 * * *", NEW_YORK, "2026-03-08", ["03:00-04:00"]),
        ("*/15 2 * * *", NEW_YORK, "2026-03-08", ["03:00-04:00"]),
        ("0 2,3 * * *", NEW_YORK, "2026-03-08", ["03:00-04:00"]),
        ("30 * * * *", NEW_YORK, "2026-03-08", None),
        ("30 1 * * *", NEW_YORK, "2026-11-01", ["01:30-04:00"]),
        ("0 2 * * *", NEW_YORK, "2026-11-01", ["02:00-05:00"]),
        ("0 0 * * *", "America/Havana", "2026-03-08", ["01:00-04:00"]),
        ("30 0 * * *", "America/Havana", "2026-11-01", ["00:30-04:00"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-04", ["02:30+11:00"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-05", ["01:45+11:00"]),
        ("0 9 * * *", "Pacific/Apia", "2011-12-31", ["00:00+14:00", "09:00+14:00"]),
    ],
)
def test_the_nights_on_which_clocks_change(expression: str, time_zone: str, day: str, fired: list[str] | None) -> None:
    begin = local(f"{day}T00:00", time_zone)
    end = local(f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}T00:00", time_zone)
    shown = [
        utc(moment).astimezone(zone(time_zone)).isoformat(timespec="minutes")[11:]
        for moment in fires(calendar(expression, time_zone), begin - 1, end)
    ]
    if fired is None:
        assert len(shown) == 23, "an hour that is named by a star passes 23 times on that day"
    else:
        assert shown == fired


def test_a_star_in_the_hours_fires_in_both_of_an_hour_that_comes_twice() -> None:
    begin, end = local("2026-11-01T00:00", NEW_YORK), local("2026-11-02T00:00", NEW_YORK)
    assert len(fires(calendar("0 * * * *", NEW_YORK), begin - 1, end)) == 25


@pytest.mark.parametrize(
    ("repeat", "fired"),
    [
        (Repeat.FIRST, ["01:30-04:00"]),
        (Repeat.SECOND, ["01:30-05:00"]),
        (Repeat.BOTH, ["01:30-04:00", "01:30-05:00"]),
    ],
)
def test_a_time_that_comes_twice_fires_as_the_schedule_says(repeat: Repeat, fired: list[str]) -> None:
    table = calendar("30 1 * * *", NEW_YORK, Gap.UNSPECIFIED, repeat)
    begin, end = local("2026-11-01T00:00", NEW_YORK), local("2026-11-02T00:00", NEW_YORK)
    shown = [utc(m).astimezone(zone(NEW_YORK)).isoformat(timespec="minutes")[11:] for m in fires(table, begin, end)]
    assert shown == fired


def test_a_time_in_the_gap_is_left_out_where_the_schedule_says_so() -> None:
    table = calendar("30 2 * * *", NEW_YORK, Gap.SKIP)
    begin, end = local("2026-03-08T00:00", NEW_YORK), local("2026-03-09T00:00", NEW_YORK)
    assert fires(table, begin, end) == []


def test_an_interval_is_physical_time_from_its_anchor() -> None:
    table = Interval(90_000, 10_000)
    assert table.after(10_000) == 100_000
    assert table.after(99_999) == 100_000
    assert table.latest(99_999) == 10_000
    assert Interval(1_000, 5_000_000_000_250).after(0) == 250, "an anchor in the future has times before it, too"


def test_an_expression_for_a_day_that_is_years_away_finds_it() -> None:
    begin = ms(datetime(2026, 1, 1, tzinfo=UTC))
    found = calendar("0 0 1 1 *", "UTC").after(begin)
    assert found is not None and utc(found) == datetime(2027, 1, 1, tzinfo=UTC)
    leap = calendar("0 0 29 2 *", "UTC").after(ms(datetime(2096, 3, 1, tzinfo=UTC)))
    assert leap is not None and utc(leap) == datetime(2104, 2, 29, tzinfo=UTC), "2100 is no leap year"


@pytest.mark.parametrize("name", ["EST", "EST5EDT", "Local", "localtime", "europe/berlin", "Europe/Berlim", "", "GMT"])
def test_names_that_are_no_zone_are_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(UnknownZone, match=r"write"):
        zone(name)


EXPRESSIONS = (
    "30 2 * * *", "30 1 * * *", "*/15 2 * * *", "0 0 * * *", "*/7 * * * *", "15,45 1-3 * * *", "0 0 L * MON",
    "59 23 * * *",
)  # fmt: skip
FEW_ZONES = (
    NEW_YORK, LORD_HOWE, "America/Havana", "Africa/Casablanca", "Europe/Dublin", "Asia/Gaza", "America/Nuuk",
    "Pacific/Chatham", "Antarctica/Troll", "Africa/Cairo", "Asia/Beirut", "UTC",
)  # fmt: skip


def check_around_changes(time_zone: str, expressions: tuple[str, ...], years: range) -> int:
    """Compare with the walk for two days around every change of the clocks; how many firings were compared."""
    there = zone(time_zone)
    begin, end = datetime(years[0], 1, 1, tzinfo=UTC), datetime(years[-1] + 1, 1, 1, tzinfo=UTC)
    compared = 0
    for change in transitions(there, begin, end) if time_zone != "UTC" else [begin]:
        first, last = change - timedelta(hours=6), change + timedelta(hours=12)
        for expression in expressions:
            expected = [ms(moment) for moment in walk(parse(expression), there, first, last)]
            table = calendar(expression, time_zone)
            found = fires(table, ms(first) - 1, ms(last))
            assert found == expected, (time_zone, expression, change)
            for moment, following in pairwise(found):
                assert table.latest(moment) == table.latest(following - 1) == moment, (time_zone, expression, change)
            compared += len(found)
    return compared


@pytest.mark.parametrize("time_zone", FEW_ZONES)
def test_the_timetable_is_what_a_walk_over_the_minutes_gives(time_zone: str) -> None:
    assert check_around_changes(time_zone, EXPRESSIONS[:5], range(2026, 2027)) > 0


@given(
    st.sampled_from(sorted(names())),
    st.sampled_from(EXPRESSIONS),
    st.integers(ms(datetime(2020, 1, 1, tzinfo=UTC)), ms(datetime(2037, 1, 1, tzinfo=UTC))),
    st.sampled_from(Gap),
    st.sampled_from(Repeat),
)
def test_the_moments_after_and_before_agree(time_zone: str, expression: str, at: int, gap: Gap, repeat: Repeat) -> None:
    table = calendar(expression, time_zone, gap, repeat)
    following = table.after(at)
    assert following is not None and following > at
    assert table.latest(following) == following
    before = table.latest(at)
    assert before is not None and before <= at
    assert table.after(before) == following, "there is nothing between the one before and the one after"

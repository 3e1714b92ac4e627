"""What a cron expression means, and which are refused."""

import pytest

from osqueue_service.timetable.cron import LAST, MACROS, parse
from osqueue_service.timetable.field import BadCron


def test_every_field_reads_stars_lists_ranges_steps_and_names() -> None:
    cron = parse("*/20 8-10,22 1,15 JAN-MAR,12 MON-FRI")
    assert cron.minutes == (0, 20, 40)
    assert cron.hours == (8, 9, 10, 22)
    assert cron.days == {1, 15}
    assert cron.months == {1, 2, 3, 12}
    assert cron.weekdays == {1, 2, 3, 4, 5}


def test_names_are_read_in_any_case_and_sunday_is_both_0_and_7() -> None:
    assert parse("0 0 * jan sun").weekdays == parse("0 0 * JAN 7").weekdays == parse("0 0 * 1 0").weekdays == {0}


def test_a_step_from_a_number_goes_to_the_end_of_the_field() -> None:
    assert parse("10/20 * * * *").minutes == (10, 30, 50)


def test_the_last_day_and_the_nth_weekday_of_a_month() -> None:
    assert parse("0 0 L * *").days == {LAST}
    assert parse("0 0 1,L * *").days == {1, LAST}
    assert parse("0 0 * * FRI#2,5L").nth_weekdays == {(5, 2), (5, LAST)}


def test_either_day_counts_only_where_both_are_restricted() -> None:
    assert parse("0 0 1 * MON").either
    assert not parse("0 0 * * MON").either
    assert not parse("0 0 */2 * MON").either, "as in Debian's cron, a field that begins with a star restricts nothing"


@pytest.mark.parametrize("name", sorted(MACROS))
def test_names_for_common_expressions_stand_for_what_the_table_says(name: str) -> None:
    assert parse(name.upper()) == parse(MACROS[name])


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five"),
        ("* * * *", "five"),
        ("* * * * * *", "six fields"),
        ("*/62 * * * *", "minute: '*/62' has the step '62'"),
        ("*/0 * * * *", "minute: '*/0' has the step '0'"),
        ("*/60 * * * *", "from 1 to 59"),
        ("0 */24 * * *", "hour: '*/24'"),
        ("0 0 */40 * *", "day of month"),
        ("60 * * * *", "minute: '60'"),
        ("0 24 * * *", "hour: '24'"),
        ("0 0 0 * *", "day of month: '0'"),
        ("0 0 * 13 *", "month: '13'"),
        ("0 0 * * 8", "day of week: '8'"),
        ("0 0 * * FOO", "SUN/MON/TUE"),
        ("0 0 * * FRI#6", "from 1 to 5"),
        ("30-10 * * * *", "ends before it begins"),
        ("1, * * * *", "minute: ''"),
        ("٣ * * * *", "minute"),
        ("@reboot", "@daily"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6 *", "never fires"),
    ],
)
def test_what_means_nothing_is_refused_with_the_field_and_the_way_out(expression: str, says: str) -> None:
    with pytest.raises(BadCron) as refused:
        parse(expression)
    assert says in str(refused.value)

"""Compare the timetable with a walk over the minutes in every zone around every change of clocks: python -m
tests.unit.timetable.all_zones. Takes some minutes; `make proof` runs it."""

from osqueue_service.timetable.zones import names
from tests.unit.timetable.test_timetable import EXPRESSIONS, check_around_changes

YEARS = range(2020, 2038)


def main() -> None:
    compared = 0
    zones = sorted(names())
    for zone in zones:
        compared += check_around_changes(zone, EXPRESSIONS, YEARS)
    print(
        f"{len(zones)} zones, {YEARS[0]} to {YEARS[-1]}: {compared:,} firings are as the walk over the minutes has them"
    )


if __name__ == "__main__":
    main()

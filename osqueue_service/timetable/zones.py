"""The time zone database that comes with osqueue: the package `tzdata`, never the machine's own.

So all brokers of one installation agree, and `VERSION` tells when they do not.
"""

from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

VERSION: str = tzdata.IANA_VERSION
"""The release of the database, such as "2026a"."""

UTC = "UTC"

_ABBREVIATIONS = {
    "EST": "America/New_York", "EDT": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago",
    "CST6CDT": "America/Chicago", "MST": "America/Denver", "MST7MDT": "America/Denver", "PST": "America/Los_Angeles",
    "PST8PDT": "America/Los_Angeles", "CET": "Europe/Berlin", "CEST": "Europe/Berlin", "MET": "Europe/Berlin",
    "EET": "Europe/Helsinki", "WET": "Europe/Lisbon", "BST": "Europe/London", "GB": "Europe/London", "GMT": "UTC",
    "HST": "Pacific/Honolulu", "JST": "Asia/Tokyo", "IST": "Asia/Kolkata", "Z": "UTC", "ZULU": "UTC",
}  # fmt: skip


class UnknownZone(ValueError):
    """No time zone has this name; the message names the way out."""


@cache
def names() -> frozenset[str]:
    """All zones that a schedule may name: those of the IANA database that have a region, and UTC."""
    text = resources.files(tzdata).joinpath("zones").read_text(encoding="utf-8")
    return frozenset(name for name in text.split() if "/" in name) | {UTC}


@cache
def zone(name: str) -> ZoneInfo:
    """The zone, or `UnknownZone`."""
    if name not in names():
        meant = _ABBREVIATIONS.get(name.upper())
        way_out = (
            f"an abbreviation names no rules of summer time: write {meant!r}"
            if meant
            else "write a name of the IANA database such as 'Europe/Berlin', or 'UTC'"
        )
        raise UnknownZone(f"{name[:40]!r} is not a time zone of the database {VERSION}: {way_out}")
    *folders, last = name.split("/")
    with resources.files(tzdata).joinpath("zoneinfo", *folders, last).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)

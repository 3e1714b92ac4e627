"""docs/limits.md is the table of limits.py, and the API's comments say the same numbers."""

import re
from dataclasses import fields
from pathlib import Path

from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, GIB, HOUR_MS, KIB, MIB, MINUTE_MS, SECOND_MS, Limits

ROOT = Path(__file__).resolve().parents[2]
# Names in capitals are constants of the code, which no setting changes.
ROW = re.compile(r"^\| `([a-z_]+)` \| ([^|]+) \|", re.MULTILINE)


def shown(name: str, value: int) -> str:
    """A value as the table shows it."""
    if name.endswith("bytes"):
        for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if value % size == 0:
                return f"{value // size} {unit}"
        return f"{value} bytes"
    if value == 0:
        return "none"
    if "_ms" in name:
        units = ((DAY_MS, "days"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s"), (1, "ms"))
        length, unit = next((length, unit) for length, unit in units if value % length == 0 and value >= length)
        if value in (DAY_MS, MINUTE_MS):  # said as 24 h and 60 s
            length, unit = units[[each for each, _ in units].index(length) + 1]
        return f"{value // length} {unit}"
    return f"{value:,}"


def test_the_table_has_every_limit_with_its_default():
    table = dict(ROW.findall((ROOT / "docs" / "limits.md").read_text()))
    assert table == {each.name: shown(each.name, getattr(DEFAULT_LIMITS, each.name)) for each in fields(Limits)}


def test_messages_fit_what_clients_read_by_default():
    assert DEFAULT_LIMITS.page_bytes + MIB <= 4 * MIB
    assert DEFAULT_LIMITS.payload_bytes + DEFAULT_LIMITS.metadata_bytes < DEFAULT_LIMITS.page_bytes

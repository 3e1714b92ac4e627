"""docs/gateway.md says what the code says."""

import re
from dataclasses import fields
from pathlib import Path

from osqueue_gateway.errors import FAULTS
from osqueue_gateway.limits import DEFAULT_LIMITS, KIB, MIB, Limits
from osqueue_gateway.routes import ROUTES

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "gateway.md").read_text()
LIMIT_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
ERROR_ROW = re.compile(r"^\| ([A-Z_, ]+) \| ([0-9, ]+)[^|]*\| (\w+) \|", re.MULTILINE)


def shown(name: str, value: int) -> str:
    if "bytes" in name:
        return f"{value // MIB} MiB" if value % MIB == 0 else f"{value // KIB} KiB"
    return f"{value / 1_000:g} s" if name.endswith("_ms") else f"{value:,}"


def test_the_table_has_every_limit_with_its_value():
    table = dict(LIMIT_ROW.findall(TEXT))
    assert table == {each.name: shown(each.name, getattr(DEFAULT_LIMITS, each.name)) for each in fields(Limits)}


def test_the_table_has_every_reason_with_status_and_tag():
    rows = {}
    for reasons, statuses, tag in ERROR_ROW.findall(TEXT):
        named = reasons.split(", ")
        found = [int(status) for status in statuses.split(",")]
        rows.update({reason: (found[min(at, len(found) - 1)], tag) for at, reason in enumerate(named)})
    # A caller's own time limit exists in Connect only.
    expected = {reason: (fault.status, fault.tag) for reason, fault in FAULTS.items() if reason != "DEADLINE_EXCEEDED"}
    assert rows == expected


def test_every_route_is_mentioned():
    for route in ROUTES:
        last = route.path.rpartition("/")[2]
        assert last in TEXT or last == "{id}", route.path

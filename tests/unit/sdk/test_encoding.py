"""Payload bytes from values, and back."""

import dataclasses
import datetime
import uuid

import pytest

from osqueue.encoding import from_bytes, to_bytes
from osqueue.errors import BrokerProtocolError


@dataclasses.dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        ("text", b'"text"'),
        ("ö", '"ö"'.encode()),
        (None, b"null"),
        ({"a": [1, 2.5, True, None]}, b'{"a":[1,2.5,true,null]}'),
        (10**30, b"1" + b"0" * 30),
        (Point(1, 2), b'{"x":1,"y":2}'),
        ({"at": datetime.date(2030, 1, 2)}, b'{"at":"2030-01-02"}'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
    ],
)
def test_a_value_becomes_compact_json_and_bytes_stay_bytes(value, data):
    assert to_bytes(value, "payload") == data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, object()}, {(1, 2): 3}, "\ud800"])
def test_what_json_cannot_hold_is_refused_by_name(value):
    with pytest.raises(BrokerProtocolError, match=r"^result: ") as refused:
        to_bytes(value, "result")
    assert refused.value.violations[0].field == "result"


def test_a_value_that_contains_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(BrokerProtocolError, match="payload"):
        to_bytes(loop, "payload")


@pytest.mark.parametrize(
    ("data", "value"), [(b'{"a":1}', {"a": 1}), (b"\xff", b"\xff"), (b"not json", b"not json"), (b"", b"")]
)
def test_json_is_read_and_other_bytes_stay(data, value):
    assert from_bytes(data) == value


def test_bottomless_json_stays_bytes():
    data = b"[" * 100_000
    assert from_bytes(data) == data

"""Values to payload bytes and back. Bytes travel as they are; everything else travels as JSON."""

import json
from typing import Any

from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, Violation


def _beyond_json(value: object) -> Any:
    """Models, dataclasses, datetimes, UUIDs and whatever else Pydantic can write as JSON."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, by_alias=True)


_encode = json.JSONEncoder(
    allow_nan=False, ensure_ascii=False, separators=(",", ":"), check_circular=True, default=_beyond_json
).encode


def to_bytes(value: object, field: str) -> bytes:
    """The bytes of a payload or result; `field` names it in the `BrokerProtocolError` for what JSON cannot hold."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return _encode(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid(field, f"cannot be written as JSON: {error}") from error


def from_bytes(data: bytes) -> Any:
    """The JSON value that the bytes hold, or the bytes themselves when they hold none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # a payload that is not JSON is as good as any other
        return data


def invalid(field: str, problem: str) -> BrokerProtocolError:
    """The error for one field that is wrong before it ever left this process."""
    return BrokerProtocolError(f"{field}: {problem}", reason=INVALID_REQUEST, violations=(Violation(field, problem),))

"""Values to payload bytes and back. Bytes travel as they are; everything else travels as JSON."""

import json
from typing import Any

from osqueue.codecs.envelope import refusal
from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, Violation


def _beyond_json(value: object) -> Any:
    """Models, dataclasses, datetimes, UUIDs and whatever else Pydantic can write as JSON."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, by_alias=True)


_encode = json.JSONEncoder(
    allow_nan=False, ensure_ascii=False, separators=(",", ":"), check_circular=True, default=_beyond_json
).encode

_decode = json.JSONDecoder().decode
_PLAIN_BEGINNINGS = frozenset(bytes((byte,)) for byte in b'{["-0123456789tfn \t\r\n')


def to_bytes(value: object, field: str) -> bytes:
    """The bytes of a payload or result; `field` names it in the `BrokerProtocolError` for what JSON cannot hold."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return _encode(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid(field, f"cannot be written as JSON: {error}") from error


def from_bytes(data: bytes) -> Any:
    """The JSON value that the bytes hold, or the bytes themselves when they hold none. `CodecError` when they are
    encoded."""
    try:
        # Told apart from UTF-16 and the like, which are JSON too, by the first bytes: json.loads looks more closely.
        return _decode(data.decode()) if data[:1] in _PLAIN_BEGINNINGS and 0 not in data[:4] else json.loads(data)
    except (ValueError, RecursionError):  # a payload that is not JSON is as good as any other
        return plain(data)


def plain(data: bytes) -> bytes:
    """The bytes, unless a codec made them what they are: `CodecError` says which."""
    if (refused := refusal(data)) is not None:
        raise refused
    return data


def invalid(field: str, problem: str) -> BrokerProtocolError:
    """The error for one field that is wrong before it ever left this process."""
    return BrokerProtocolError(f"{field}: {problem}", reason=INVALID_REQUEST, violations=(Violation(field, problem),))

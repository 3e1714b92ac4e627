"""JSON as text: taken apart one level at a time, so that what is not ours to understand is never re-encoded.

A payload's big integers, order of keys and spacing survive because its text is only checked, never turned into values.
"""

import re
from typing import Any

import msgspec

Raw = msgspec.Raw

SPACE = b" \t\r\n"
"""What JSON allows between its tokens."""

JSON_DEPTH = 64
"""Levels of a payload or result that stands as JSON inside a message; beyond, it travels as base64."""

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ARRAY = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder(Raw)
_STRING = msgspec.json.Decoder(str)

_KEY = re.compile(rb'[\s,{]*("(?:[^"\\]|\\.)*")\s*:(\s*)', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class JsonError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message says where and why."""


PARTS_MAX = 10_000
"""Members of one object and elements of one array that are read: ten times what the broker takes in a batch."""

NAME_CHARACTERS = 100
"""As much of a caller's own word as an error repeats."""


def members(text: bytes | Raw) -> dict[str, Raw]:
    """The members of a JSON object, their values unread. Text that is not UTF-8, repeated keys and more than
    `PARTS_MAX` of them are refused."""
    data = bytes(text)
    found = _decoded(data)
    if len(found) > PARTS_MAX:
        raise JsonError(f"has {len(found):,} keys; at most {PARTS_MAX:,} are read")
    _places(data, found)
    return found


def spaced_members(text: bytes | Raw) -> dict[str, bytes]:
    """The same, each value with the space around it: in an answer that is the payload's own."""
    data = bytes(text)
    spaced = {}
    for name, start, end in _places(data, _decoded(data)):
        while data[end] in SPACE:
            end += 1
        spaced[name] = data[start:end]
    return spaced


def items(text: bytes | Raw) -> list[Raw]:
    """The elements of a JSON array, unread."""
    try:
        return _ARRAY.decode(text)
    except msgspec.ValidationError:
        raise JsonError("must be a JSON array") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise JsonError(_plainly(error)) from None


def is_json(data: bytes) -> bool:
    """Whether `data` can stand inside an answer as it is: JSON, in UTF-8, not too deep."""
    try:
        require_utf8(data)
        _ANY.decode(data)
    except (JsonError, msgspec.DecodeError, RecursionError):
        return False
    return not too_deep(data, JSON_DEPTH)


def require_utf8(data: bytes) -> None:
    """Nothing, or a `JsonError`: the parser itself does not look into the strings that it skips."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8: byte {error.start} is {data[error.start]:#04x}") from None


def too_deep(text: bytes, depth: int) -> bool:
    """Whether well-formed JSON is nested deeper than `depth`. Linear, whatever the text."""
    if text.count(b"[") + text.count(b"{") <= depth:
        return False
    outside = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside.translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(depth):  # each round takes the innermost pairs away
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _decoded(data: bytes) -> dict[str, Raw]:
    require_utf8(data)
    try:
        return _OBJECT.decode(data)
    except RecursionError:
        raise JsonError(f"the JSON is nested deeper than {JSON_DEPTH} levels") from None
    except msgspec.ValidationError:
        raise JsonError("must be a JSON object") from None
    except msgspec.DecodeError as error:
        raise JsonError(_plainly(error)) from None


def _places(data: bytes, found: dict[str, Raw]) -> list[tuple[str, int, int]]:
    """Each member's name, where the space before its value starts, and where its value ends; refuses repeated keys.

    The parser keeps the last of two equal keys, and other readers the first. Every value is already known to be JSON,
    so skipping is comparing with what was kept: a member that differs, or that comes twice, is a repetition.
    """
    places: list[tuple[str, int, int]] = []
    position = 0
    while (key := _KEY.match(data, position)) is not None:
        name = _STRING.decode(key[1])
        value = bytes(found[name])
        position = key.end() + len(value)
        places.append((name, key.start(2), position))
        if not data.startswith(value, key.end()) or len(places) > len(found):
            raise JsonError(f"the key {shortened(name)!r} is given twice")
        # A number may begin like the one that was kept: 12 and 1.
        if data[position : position + 1] not in _AFTER_VALUE:
            raise JsonError(f"the key {shortened(name)!r} is given twice")
    return places


_AFTER_VALUE = (b",", b"}", b" ", b"\t", b"\n", b"\r")


def _plainly(error: Exception) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return f"not JSON: {text[:1].lower()}{text[1:]}"


def encode(value: Any) -> bytes:
    """The JSON text of plain values and of `Raw` text among them."""
    return _encode(value)


_encode = msgspec.json.Encoder().encode


def shortened(text: str) -> str:
    """The text, or its beginning where it is long: an error must not grow with what it refuses."""
    return text if len(text) <= NAME_CHARACTERS else f"{text[:NAME_CHARACTERS]}…"

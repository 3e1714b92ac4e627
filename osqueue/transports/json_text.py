"""JSON with its pieces left as they were written.

A payload that is JSON travels verbatim: its numbers, its spacing and the order of its keys
are the producer's. So values are cut out of the text, not decoded and written anew.
"""

import json
import re
from collections.abc import Iterator

_space = re.compile(r"[ \t\n\r]*")

# Numbers stay text: a payload's may have thousands of digits, which Python would refuse to convert.
_skip = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode

loads = json.loads


class JsonTextError(ValueError):
    """The text is not what it should be; says where."""


def members(text: str) -> Iterator[tuple[str, str]]:
    """The keys of an object, each with the text of its value."""
    at = _expect(text, _after_space(text, 0), "{")
    if text.startswith("}", _after_space(text, at)):
        return
    while True:
        at = _after_space(text, at)
        if not text.startswith('"', at):
            raise JsonTextError(f"expected a key at character {at}")
        try:
            key, at = _skip(text, at)
        except ValueError as error:
            raise JsonTextError(str(error)) from error
        colon = _expect(text, _after_space(text, at), ":")
        value, at = _value(text, colon)
        yield key, value
        if text.startswith("}", at):
            return
        at = _expect(text, at, ",")


def items(text: str) -> Iterator[str]:
    """The texts of an array's items."""
    at = _expect(text, _after_space(text, 0), "[")
    if text.startswith("]", _after_space(text, at)):
        return
    while True:
        value, at = _value(text, at)
        yield value
        if text.startswith("]", at):
            return
        at = _expect(text, at, ",")


def _value(text: str, at: int) -> tuple[str, int]:
    """The value with the space around it, which may be a payload's own, and where it ends."""
    try:
        _, end = _skip(text, _after_space(text, at))
    except (ValueError, RecursionError) as error:
        raise JsonTextError(str(error)) from error
    end = _after_space(text, end)
    return text[at:end], end


def _expect(text: str, at: int, mark: str) -> int:
    if not text.startswith(mark, at):
        raise JsonTextError(f"expected {mark!r} at character {at}")
    return at + 1


def _after_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    return at if found is None else found.end()

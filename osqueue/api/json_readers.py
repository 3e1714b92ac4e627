"""Fields of messages from their JSON: of requests to the letter, of answers passing over what is newer."""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from osqueue.api.descriptors import is_map, is_repeated, part_of, short_numbers
from osqueue.api.json_text import (
    JSON_DEPTH,
    PARTS_MAX,
    JsonError,
    Raw,
    items,
    members,
    shortened,
    spaced_members,
    too_deep,
)
from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, Violation

BASE64 = "Base64"
"""Ends the key under which bytes stand that are not JSON."""

VIOLATED_FIELD = "osqueue.v1.FieldViolation.field"

VIOLATIONS_MAX = 20
"""A thousand wrong keys or items need not be told one by one."""

Reader = Callable[[Raw, str], Any]
"""(text, path of the key) → value."""


class ShapeError(BrokerProtocolError):
    """A request that does not have its shape; every wrong key is named, up to `VIOLATIONS_MAX`."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        found = tuple(islice(violations, VIOLATIONS_MAX))
        message = "; ".join(f"{field}: {problem}" if field else problem for field, problem in found)
        super().__init__(message, reason=INVALID_REQUEST, violations=found)


_NAMES = {str: "a string", bool: "true or false", float: "a number"}
INT_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}


def _scalar_reader(kind: type) -> Reader:
    decode: Callable[[Raw], Any] = msgspec.json.Decoder(kind).decode
    must_be = f"must be {_NAMES[kind]}"

    def read(raw: Raw, path: str) -> Any:
        try:
            return decode(raw)
        except (msgspec.DecodeError, RecursionError):
            raise JsonError(f"{must_be}, not {_shown(raw)}") from None

    return read


read_string, _read_bool, _read_float = map(_scalar_reader, (str, bool, float))

_decode_int: Callable[[Raw], int] = msgspec.json.Decoder(int).decode
_decode_float: Callable[[Raw], float] = msgspec.json.Decoder(float).decode
EXACT_FLOAT = 2.0**53
"""Below this a floating-point number is the integer that was written."""


def _read_int(raw: Raw) -> int:
    try:
        return _decode_int(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:  # 4.0 is an integer too: JSON knows one kind of number
        number = _decode_float(raw)
    except (msgspec.DecodeError, RecursionError):
        raise JsonError(f"must be an integer, not {_shown(raw)}") from None
    if not number.is_integer() or abs(number) >= EXACT_FLOAT:
        raise JsonError(f"must be an integer, not {_shown(raw)}")
    return int(number)


def _int_reader(low: int, high: int) -> Reader:
    def read(raw: Raw, path: str) -> int:
        value = _read_int(raw)
        if not low <= value <= high:
            raise JsonError(f"must be an integer from {low} to {high}, not {_shown(raw)}")
        return value

    return read


def _enum_reader(enum: EnumDescriptor) -> Reader:
    numbers = short_numbers(enum)
    choice = ", ".join(name for name, number in numbers.items() if number)

    def read(raw: Raw, path: str) -> int:
        number = numbers.get(read_string(raw, path))
        if number is None:
            raise JsonError(f"must be one of {choice}, not {_shown(raw)}")
        return number

    return read


def _list_reader(read_item: Reader) -> Reader:
    def read(raw: Raw, path: str) -> list[Any]:
        values: list[Any] = []
        wrong: list[Violation] = []
        found = items(raw)
        if len(found) > PARTS_MAX:
            raise JsonError(f"has {len(found):,} elements; at most {PARTS_MAX:,} are read. Split the batch")
        for index, item in enumerate(found):
            where = f"{path}[{index}]"
            try:
                values.append(read_item(item, where))
            except ShapeError as error:
                wrong.extend(error.violations)
            except JsonError as error:
                wrong.append(Violation(where, str(error)))
            if len(wrong) >= VIOLATIONS_MAX:
                break
        if wrong:
            raise ShapeError(wrong)
        return values

    return read


def _read_labels(raw: Raw, path: str) -> dict[str, str]:
    wrong: list[Violation] = []
    labels: dict[str, str] = {}
    for key, value in members(raw).items():
        try:
            labels[key] = read_string(value, path)
        except JsonError as error:
            wrong.append(Violation(f"{path}.{shortened(key)}", str(error)))
            if len(wrong) >= VIOLATIONS_MAX:
                break
    if wrong:
        raise ShapeError(wrong)
    return labels


def _read_json_text(raw: Raw, path: str) -> bytes:
    data = bytes(raw)
    if too_deep(data, JSON_DEPTH):
        raise JsonError(f"is nested deeper than {JSON_DEPTH} levels; send it as {path}{BASE64}")
    return data


def _read_base64(raw: Raw, path: str) -> bytes:
    try:
        return b64decode(read_string(raw, path), validate=True)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, JsonError):
            raise
        raise JsonError(f"must be standard base64 with padding: {error}") from None


def field_reader(field: FieldDescriptor, read_message: Callable[[Descriptor], Reader]) -> Reader:
    """Reads what stands under the field's key in a request; `read_message` knows how its parts are read."""
    if is_map(field):
        return _read_labels
    read = read_message(part_of(field)) if field.message_type is not None else scalar_reader(field)
    return _list_reader(read) if is_repeated(field) else read


def bytes_readers(field: FieldDescriptor) -> dict[str, Reader]:
    """The two keys of a field of bytes."""
    return {field.json_name: _read_json_text, field.json_name + BASE64: _read_base64}


def scalar_reader(field: FieldDescriptor) -> Reader:
    """Reads one value that is neither bytes nor a message."""
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.cpp_type in INT_RANGES:
        return _int_reader(*INT_RANGES[field.cpp_type])
    return {
        FieldDescriptor.CPPTYPE_STRING: read_string,
        FieldDescriptor.CPPTYPE_BOOL: _read_bool,
        FieldDescriptor.CPPTYPE_DOUBLE: _read_float,
    }[field.cpp_type]


def _shown(raw: Raw) -> str:
    text = bytes(raw[:41] if isinstance(raw, bytes) else memoryview(raw)[:41]).decode(errors="replace")
    return text if len(text) <= 40 else text[:40] + "…"


# --- answers ---------------------------------------------------------------------------------------------------------

Filler = Callable[[Any, Any], None]
"""(text, message to fill)."""

_capital = re.compile("(?<=[a-z0-9])[A-Z]")


def snake_path(path: str) -> str:
    """A field's path as this API has it: JSON says maxAttempts."""
    return _capital.sub(lambda match: "_" + match[0].lower(), path)


@cache
def answer_filler(descriptor: Descriptor) -> Filler:
    """Fills a message from the text of an answer. A key that only a newer gateway knows is passed over."""
    fillers = {}
    for field in descriptor.fields:
        fillers[field.json_name] = _filler(field)
        if field.type == FieldDescriptor.TYPE_BYTES:
            fillers[field.json_name + BASE64] = _base64_filler(field.name)
    verbatim = {field.json_name for field in descriptor.fields if field.type == FieldDescriptor.TYPE_BYTES}

    def fill(text: Any, into: Any) -> None:
        for key, value in spaced_members(text).items():
            filler = fillers.get(key)
            if filler is None or (value.strip() == b"null" and key not in verbatim):
                continue
            try:
                filler(value, into)
            except (JsonError, ShapeError) as error:
                raise JsonError(f"{key}: {error}") from error

    return fill


def _filler(field: FieldDescriptor) -> Filler:
    name = field.name
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda text, into: setattr(into, name, text)
    if is_map(field):
        return lambda text, into: getattr(into, name).update(_read_labels(text, name))
    if field.message_type is not None:
        return _part_filler(field)
    read = scalar_reader(field) if field.enum_type is None else _patient_enum_reader(field.enum_type)
    if is_repeated(field):
        return lambda text, into: getattr(into, name).extend([read(item, name) for item in items(text)])
    if field.full_name == VIOLATED_FIELD:
        return lambda text, into: setattr(into, name, snake_path(read(text, name)))
    return lambda text, into: setattr(into, name, read(text, name))


def _part_filler(field: FieldDescriptor) -> Filler:
    name, descriptor = field.name, part_of(field)

    def fill_each(text: Any, into: Any) -> None:
        fill, add = answer_filler(descriptor), getattr(into, name).add
        for item in items(text):
            fill(item, add())

    def fill_one(text: Any, into: Any) -> None:
        part = getattr(into, name)
        part.SetInParent()
        answer_filler(descriptor)(text, part)

    return fill_each if is_repeated(field) else fill_one


def _base64_filler(name: str) -> Filler:
    return lambda text, into: setattr(into, name, _read_base64(text, name + BASE64))


def _patient_enum_reader(enum: EnumDescriptor) -> Reader:
    """A word that this version does not know counts as unspecified; a number is one that the gateway did not know."""
    numbers = short_numbers(enum)

    def read(raw: Raw, path: str) -> int:
        try:
            return numbers.get(read_string(raw, path), 0)
        except JsonError:
            return _read_int(raw)

    return read

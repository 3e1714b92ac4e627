"""The JSON form of the API's messages in REST and WebSocket: one reader and one writer per message type.

camelCase keys, int64 as numbers, enums by their short names, zero values written out. What is absent in a message is
absent in JSON: `optional` fields and messages that are not set, and the few strings in `ABSENT_WHEN_EMPTY`. A field of
bytes has two keys: `payload` for JSON text, verbatim, and `payloadBase64` for anything else.

Connect has protobuf's own JSON instead; that is in connect.py.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, Violation
from osqueue_gateway.json_text import JsonError, Raw, is_json, items, members, too_deep
from osqueue_gateway.limits import DEFAULT_LIMITS
from osqueue_gateway.rpcs import message_class

ABSENT_WHEN_EMPTY = {
    "osqueue.v1.JobInfo": {"type", "worker_id"},
    "osqueue.v1.ClaimedJob": {"type"},
    "osqueue.v1.ClaimJobResponse": {"type"},
}
"""Strings whose emptiness means that there is none."""

ABSENT_WITHOUT = {"osqueue.v1.ClaimJobResponse": "job_id"}
"""Messages that are empty objects while this field is not set."""

PATH = "osqueue.v1.FieldViolation.field"

BASE64 = "Base64"

Reader = Callable[[Raw, str], Any]


class ShapeError(BrokerProtocolError):
    """A request that does not have its shape; every wrong key is named."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        found = tuple(violations)
        message = "; ".join(f"{field}: {problem}" if field else problem for field, problem in found)
        super().__init__(message, reason=INVALID_REQUEST, violations=found)


def short_names(enum: EnumDescriptor) -> dict[int, str]:
    """Number → name without the prefix that repeats the enum's own: JOB_VIEW_BASIC → BASIC."""
    prefix = len(enum.values_by_number[0].name) - len("UNSPECIFIED")
    return {value.number: value.name[prefix:] for value in enum.values}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


class Shape:
    """How one type of message reads and writes as JSON."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.message = message_class(descriptor)
        self._readers: dict[str, tuple[str, Reader]] = {}
        self._writers = [_writer(field, descriptor.full_name) for field in descriptor.fields]
        self._whole = ABSENT_WITHOUT.get(descriptor.full_name)
        for field in descriptor.fields:
            if field.type == FieldDescriptor.TYPE_BYTES:
                self._readers[field.json_name] = (field.name, _read_json_text)
                self._readers[field.json_name + BASE64] = (field.name, _read_base64)
            else:
                self._readers[field.json_name] = (field.name, _reader(field))

    def read(self, text: bytes | Raw, path: str = "", given: dict[str, Any] | None = None) -> Message:
        """The message that a JSON object holds; `given` are fields known otherwise, which it may not repeat."""
        prefix = path + "." if path else ""
        try:
            found = members(text)
        except JsonError as error:
            raise ShapeError([Violation(path, str(error))]) from None
        values: dict[str, Any] = dict(given) if given else {}
        wrong: list[Violation] = []
        for key, raw in found.items():
            reader = self._readers.get(key)
            if reader is None:
                wrong.append(Violation(prefix + key, f"is no key of this request; it knows {self.keys(given)}"))
                continue
            name, read = reader
            if name in values:
                wrong.append(Violation(prefix + key, f"is given twice, as {self._twin(key, given)}"))
                continue
            try:
                values[name] = read(raw, prefix + key)
            except ShapeError as error:
                wrong.extend(error.violations)
            except JsonError as error:
                wrong.append(Violation(prefix + key, str(error)))
        if wrong:
            raise ShapeError(wrong)
        return self.message(**values)

    def write(self, message: Message) -> dict[str, Any]:
        """The object for `msgspec.json.encode`."""
        if self._whole is not None and not message.HasField(self._whole):
            return {}
        out: dict[str, Any] = {}
        for write in self._writers:
            write(message, out)
        return out

    def keys(self, given: dict[str, Any] | None = None) -> str:
        """All keys of a request, for people."""
        return ", ".join(key for key, (name, _) in self._readers.items() if not given or name not in given)

    def _twin(self, key: str, given: dict[str, Any] | None) -> str:
        name = self._readers[key][0]
        if given and name in given:
            return "it stands in the path already"
        return " and ".join(other for other, (field, _) in self._readers.items() if field == name)


@cache
def shape(descriptor: Descriptor) -> Shape:
    """The shape of a type of message."""
    return Shape(descriptor)


def encode(value: Any) -> bytes:
    """JSON text of what `Shape.write` returned."""
    return _encode(value)


_encode = msgspec.json.Encoder().encode


# --- reading ---------------------------------------------------------------------------------------------------------

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
    numbers = {name: number for number, name in short_names(enum).items()}
    choice = ", ".join(name for name, number in numbers.items() if number)

    def read(raw: Raw, path: str) -> int:
        number = numbers.get(read_string(raw, path))
        if number is None:
            raise JsonError(f"must be one of {choice}, not {_shown(raw)}")
        return number

    return read


def _message_reader(descriptor: Descriptor) -> Reader:
    return lambda raw, path: shape(descriptor).read(raw, path)


def _list_reader(read_item: Reader) -> Reader:
    def read(raw: Raw, path: str) -> list[Any]:
        values: list[Any] = []
        wrong: list[Violation] = []
        for index, item in enumerate(items(raw)):
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


VIOLATIONS_MAX = 20
"""A thousand wrong items need not be told one by one."""


def _read_labels(raw: Raw, path: str) -> dict[str, str]:
    wrong: list[Violation] = []
    labels: dict[str, str] = {}
    for key, value in members(raw).items():
        try:
            labels[key] = read_string(value, path)
        except JsonError as error:
            wrong.append(Violation(f"{path}.{key}", str(error)))
    if wrong:
        raise ShapeError(wrong[:VIOLATIONS_MAX])
    return labels


def _read_json_text(raw: Raw, path: str) -> bytes:
    data = bytes(raw)
    if too_deep(data, DEFAULT_LIMITS.json_depth):
        raise JsonError(f"is nested deeper than {DEFAULT_LIMITS.json_depth} levels; send it as {path}{BASE64}")
    return data


def _read_base64(raw: Raw, path: str) -> bytes:
    try:
        return b64decode(read_string(raw, path), validate=True)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, JsonError):
            raise
        raise JsonError(f"must be standard base64 with padding: {error}") from None


def _reader(field: FieldDescriptor) -> Reader:
    if is_map(field):
        return _read_labels
    read = _single_reader(field)
    return _list_reader(read) if field.is_repeated else read


def _single_reader(field: FieldDescriptor) -> Reader:
    if field.message_type is not None:
        return _message_reader(field.message_type)
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


# --- writing ---------------------------------------------------------------------------------------------------------

Writer = Callable[[Message, dict[str, Any]], None]


def _writer(field: FieldDescriptor, owner: str) -> Writer:
    name, key = field.name, field.json_name
    if field.full_name == PATH:
        return _path_writer
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_writer(field)
    if field.message_type is not None:
        return _message_writer(field)
    if field.enum_type is not None:
        return _enum_writer(field)
    if field.is_repeated:
        return lambda message, out: out.__setitem__(key, list(getattr(message, name)))
    if field.has_presence or name in ABSENT_WHEN_EMPTY.get(owner, ()):
        return _present_writer(name, key, field.has_presence)

    def write(message: Message, out: dict[str, Any]) -> None:
        out[key] = getattr(message, name)

    return write


def _path_writer(message: Any, out: dict[str, Any]) -> None:
    out["field"] = json_path(message.field)


def json_path(path: str) -> str:
    """A field's path as JSON has it: the broker speaks of max_attempts."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), path)


_UNDERSCORE = re.compile(r"_([a-z])")


def _present_writer(name: str, key: str, has_presence: bool) -> Writer:
    def write(message: Message, out: dict[str, Any]) -> None:
        if message.HasField(name) if has_presence else getattr(message, name):
            out[key] = getattr(message, name)

    return write


def _bytes_writer(field: FieldDescriptor) -> Writer:
    name, key = field.name, field.json_name

    def write(message: Message, out: dict[str, Any]) -> None:
        data: bytes = getattr(message, name)
        if data and is_json(data):
            out[key] = Raw(data)
        elif data or (field.has_presence and message.HasField(name)):
            out[key + BASE64] = b64encode(data).decode()

    return write


def _message_writer(field: FieldDescriptor) -> Writer:
    name, key, descriptor = field.name, field.json_name, field.message_type

    def write_labels(message: Message, out: dict[str, Any]) -> None:
        out[key] = dict(getattr(message, name))

    def write_list(message: Message, out: dict[str, Any]) -> None:
        write_item = shape(descriptor).write
        out[key] = [write_item(item) for item in getattr(message, name)]

    def write_one(message: Message, out: dict[str, Any]) -> None:
        if message.HasField(name):
            out[key] = shape(descriptor).write(getattr(message, name))

    if is_map(field):
        return write_labels
    return write_list if field.is_repeated else write_one


def _enum_writer(field: FieldDescriptor) -> Writer:
    enum = field.enum_type
    assert enum is not None, "only called for enums"
    name, key, names = field.name, field.json_name, short_names(enum)

    def written(number: int) -> str | int:
        return names.get(number, number)  # a newer broker's word, for which we only have the number

    if field.is_repeated:
        return lambda message, out: out.__setitem__(key, [written(number) for number in getattr(message, name)])
    return lambda message, out: out.__setitem__(key, written(getattr(message, name)))

"""Query strings of GET routes as messages, and back: one parameter per field, under its JSON key.

A filter's fields are parameters of their own, a repeated field is a repeated parameter, labels are
`metadata=key=value`, and a position is `after=epoch.sequence`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from osqueue.api.descriptors import is_map, is_repeated, message_class, part_of, short_names, short_numbers
from osqueue.api.json_readers import INT_RANGES, ShapeError
from osqueue.errors import Violation

POSITION = "osqueue.v1.CommitPosition"
INLINED = "osqueue.v1.JobFilter"

PARAMETERS_MAX = 1_000
"""Parameters of one query string; a longer one is refused."""

Reader = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: the field it fills, below which message, and how its text is read."""

    field: FieldDescriptor
    parent: str
    read: Reader


class QueryShape:
    """How one type of request reads from a query string."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._message = message_class(descriptor)
        self.parameters: dict[str, Parameter] = {}
        self._add(descriptor, "")

    def _add(self, descriptor: Descriptor, parent: str) -> None:
        for field in descriptor.fields:
            if _is(field, INLINED):
                self._add(part_of(field), field.name)
            else:
                self.parameters[field.json_name] = Parameter(field, parent, _reader(field))

    def read(self, query: str, given: dict[str, Any] | None = None) -> Message:
        """The message; every wrong or unknown parameter is named. `given` are fields that stand in the path."""
        values: dict[str, Any] = dict(given) if given else {}
        if query:
            self._fill(query, values, set(values))
        return self._message(**values)

    def _fill(self, query: str, values: dict[str, Any], given: set[str]) -> None:
        wrong: list[Violation] = []
        for name, text in _pairs(query):
            parameter = self.parameters.get(name)
            if parameter is None or parameter.field.name in given:
                known = ", ".join(key for key, known in self.parameters.items() if known.field.name not in given)
                wrong.append(Violation(name, f"is not a parameter of this request; it takes {known or 'none'}"))
                continue
            into = values.setdefault(parameter.parent, {}) if parameter.parent else values
            field = parameter.field
            try:
                value = parameter.read(text)
            except ValueError as error:
                wrong.append(Violation(name, str(error)))
                continue
            if is_map(field):
                into.setdefault(field.name, {}).update(value)
            elif is_repeated(field):
                into.setdefault(field.name, []).append(value)
            elif field.name in into:
                wrong.append(Violation(name, "is given twice"))
            else:
                into[field.name] = value
        if wrong:
            raise ShapeError(wrong)


@cache
def query_shape(descriptor: Descriptor) -> QueryShape:
    """The query shape of a type of request."""
    return QueryShape(descriptor)


def query_of(message: Message) -> Iterator[tuple[str, str]]:
    """What is set in a request, as parameters."""
    for field, value in message.ListFields():
        key = field.json_name
        if _is(field, INLINED):
            yield from query_of(value)
        elif _is(field, POSITION):
            yield key, f"{value.epoch}.{value.sequence}"
        elif is_map(field):
            yield from ((key, f"{name}={label}") for name, label in value.items())
        elif field.enum_type is not None:
            numbers = value if is_repeated(field) else (value,)
            yield from ((key, short_names(field.enum_type)[number]) for number in numbers)
        elif is_repeated(field):
            yield from ((key, str(item)) for item in value)
        else:
            yield key, str(value).lower() if isinstance(value, bool) else str(value)


def _is(field: FieldDescriptor, message: str) -> bool:
    return field.message_type is not None and field.message_type.full_name == message


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except UnicodeDecodeError:
        raise ShapeError([Violation("", "the query string is not UTF-8")]) from None
    except ValueError:
        most = PARAMETERS_MAX
        raise ShapeError([Violation("", f"the query string has more than {most} parameters")]) from None


_INTEGER = re.compile(r"-?[0-9]{1,19}")
_POSITION = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


def read_position(text: str) -> dict[str, int]:
    """An epoch.sequence, as the ids of server-sent events are."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError("must be epoch.sequence, such as 3.1042")
    return {"epoch": int(match[1]), "sequence": int(match[2])}


def _reader(field: FieldDescriptor) -> Reader:
    if is_map(field):
        return _read_label
    if _is(field, POSITION):
        return read_position
    if field.message_type is not None:
        raise LookupError(f"{field.full_name} has no form in a query string")
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.cpp_type in INT_RANGES:
        return _int_reader(*INT_RANGES[field.cpp_type])
    readers: dict[int, Reader] = {FieldDescriptor.CPPTYPE_STRING: str, FieldDescriptor.CPPTYPE_BOOL: _read_bool}
    return readers[field.cpp_type]


def _read_label(text: str) -> dict[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise ValueError("must be key=value")
    return {key: value}


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _int_reader(low: int, high: int) -> Reader:
    def read(text: str) -> int:
        if _INTEGER.fullmatch(text) is None or not low <= int(text) <= high:
            raise ValueError(f"must be an integer from {low} to {high}")
        return int(text)

    return read


def _enum_reader(enum: EnumDescriptor) -> Reader:
    numbers = short_numbers(enum)
    choice = ", ".join(name for name, number in numbers.items() if number)

    def read(text: str) -> int:
        if text not in numbers:
            raise ValueError(f"must be one of {choice}")
        return numbers[text]

    return read

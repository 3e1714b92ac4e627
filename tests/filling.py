"""Messages with something in every field, each value unlike any other."""

from itertools import count
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor

from osqueue.api.descriptors import is_map

M = TypeVar("M")


def filled(message: type[M]) -> M:
    made = message()
    fill(made)
    return made


def fill(message: Any, numbers: Any = None) -> None:
    """Set every field; of a oneof the first."""
    numbers = count(1) if numbers is None else numbers
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[0] is not field:
            continue
        if is_map(field):
            getattr(message, field.name)[f"key {next(numbers)}"] = f"value {next(numbers)}"
        elif field.message_type is not None:
            part = getattr(message, field.name)
            fill(part.add() if field.is_repeated else part, numbers)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field, numbers))
        else:
            setattr(message, field.name, _value(field, numbers))


def _value(field: FieldDescriptor, numbers: Any) -> Any:
    number = next(numbers)
    if field.enum_type is not None:
        values = sorted(field.enum_type.values_by_number)
        return values[1 + number % (len(values) - 1)]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f'"bytes {number}"'.encode()
    return {
        FieldDescriptor.CPPTYPE_STRING: f"text {number}",
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: number + 0.5,
        FieldDescriptor.CPPTYPE_INT32: number,
        FieldDescriptor.CPPTYPE_INT64: number,
    }[field.cpp_type]

"""Messages of the API in the gateway's JSON: camelCase keys, integers as numbers, enums by their short names.

Bytes are sent under `…Base64`; received, they are JSON text, verbatim, or base64.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from osqueue.transports.json_errors import snake_path
from osqueue.transports.json_text import JsonTextError, items, loads, members
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2

BASE64 = "Base64"
POSITION = "osqueue.v1.CommitPosition"
INLINED = "osqueue.v1.JobFilter"
VIOLATED = "osqueue.v1.FieldViolation.field"


def to_json(message: Any) -> dict[str, Any]:
    """What is set in a message."""
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        key = field.json_name
        if field.type == FieldDescriptor.TYPE_BYTES:
            out[key + BASE64] = b64encode(value).decode()
        elif _is_map(field):
            out[key] = dict(value)
        elif field.message_type is not None:
            out[key] = [to_json(item) for item in value] if field.is_repeated else to_json(value)
        elif field.enum_type is not None:
            out[key] = _short_names(field.enum_type)[value]
        else:
            out[key] = list(value) if field.is_repeated else value
    return out


def to_query(message: Any) -> Iterator[tuple[str, str]]:
    """What is set in a message, as query parameters."""
    for field, value in message.ListFields():
        key = field.json_name
        if field.message_type is not None and field.message_type.full_name == INLINED:
            yield from to_query(value)
        elif field.message_type is not None and field.message_type.full_name == POSITION:
            yield key, f"{value.epoch}.{value.sequence}"
        elif _is_map(field):
            yield from ((key, f"{name}={label}") for name, label in value.items())
        elif field.enum_type is not None:
            yield key, _short_names(field.enum_type)[value]
        elif field.is_repeated:
            yield from ((key, str(item)) for item in value)
        else:
            yield key, str(value).lower() if isinstance(value, bool) else str(value)


def read(text: str, into: Any) -> Any:
    """Fill the message from the text of a JSON object, and return it. Keys of a newer gateway are passed over."""
    fields = _fields(into.DESCRIPTOR)
    for key, value in members(text):
        field, is_base64 = fields.get(key, (None, False))
        if field is None or (value.strip() == "null" and field.type != FieldDescriptor.TYPE_BYTES):
            continue
        try:
            _fill(into, field, value, is_base64)
        except (TypeError, ValueError, binascii.Error) as error:
            raise JsonTextError(f"{key}: {error}") from error
    return into


def _fill(into: Any, field: FieldDescriptor, text: str, is_base64: bool) -> None:
    name = field.name
    if field.type == FieldDescriptor.TYPE_BYTES:
        setattr(into, name, b64decode(loads(text), validate=True) if is_base64 else text.encode())
    elif _is_map(field):
        getattr(into, name).update(loads(text))
    elif field.message_type is not None:
        found = getattr(into, name)
        if field.is_repeated:
            for item in items(text):
                read(item, found.add())
        else:
            found.SetInParent()
            read(text, found)
    elif field.enum_type is not None:
        numbers = _numbers(field.enum_type)
        if field.is_repeated:
            getattr(into, name).extend(_number(word, numbers) for word in loads(text))
        else:
            setattr(into, name, _number(loads(text), numbers))
    elif field.is_repeated:
        getattr(into, name).extend(loads(text))
    elif field.full_name == VIOLATED:
        setattr(into, name, snake_path(loads(text)))
    else:
        setattr(into, name, loads(text))


def _number(word: Any, numbers: dict[str, int]) -> int:
    """A word that this version does not know counts as unspecified; a number is one the gateway did not know."""
    return word if isinstance(word, int) else numbers.get(word, 0)


@cache
def _fields(descriptor: Descriptor) -> dict[str, tuple[FieldDescriptor, bool]]:
    fields = {}
    for field in descriptor.fields:
        fields[field.json_name] = (field, False)
        if field.type == FieldDescriptor.TYPE_BYTES:
            fields[field.json_name + BASE64] = (field, True)
    return fields


@cache
def _short_names(enum: EnumDescriptor) -> dict[int, str]:
    """Number → name without the prefix that repeats the enum's own."""
    prefix = len(enum.values_by_number[0].name) - len("UNSPECIFIED")
    return {value.number: value.name[prefix:] for value in enum.values}


@cache
def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {name: number for number, name in _short_names(enum).items()}


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _responses() -> dict[str, Any]:
    responses = {}
    for module in (queue_pb2, admin_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                responses[method.name] = getattr(module, method.output_type.name)
    return responses


RESPONSES = _responses()
"""RPC → the class of its response."""

EVENTS = {"job": queue_pb2.JobEvent, "stats": queue_pb2.GetStatsResponse, "resync": queue_pb2.Resync}
"""What a watch tells, by the name of the event."""


def watch_response(event: str, data: str) -> Any:
    """One event of a watch as a WatchJobsResponse; None for one that a newer gateway tells."""
    if event not in EVENTS:
        return None
    response = queue_pb2.WatchJobsResponse()
    if event == "job":
        read(data, response.events.add())
    else:
        into = getattr(response, event)
        into.SetInParent()
        read(data, into)
    return response

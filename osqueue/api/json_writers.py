"""Fields of messages to their JSON. NaN and the infinities, which JSON does not have, are null."""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from osqueue.api.descriptors import is_map, is_repeated, part_of, short_names
from osqueue.api.json_readers import BASE64, VIOLATED_FIELD
from osqueue.api.json_text import SPACE, Raw, is_json

ABSENT_WHEN_EMPTY = {
    "osqueue.v1.JobInfo": {"type", "worker_id"},
    "osqueue.v1.ClaimedJob": {"type"},
    "osqueue.v1.ClaimJobResponse": {"type"},
    "osqueue.v1.SubmitJobResponse": {"outcome"},
    "osqueue.v1.CompleteJobResponse": {"follow_ups", "follow_ups_withheld"},
}
"""Fields whose emptiness means that there is none, and answers to what a request did not ask for."""

Writer = Callable[[Message, dict[str, Any]], None]


PartWriter = Callable[[Descriptor], Callable[[Message], dict[str, Any]]]


def field_writer(field: FieldDescriptor, write_part: PartWriter, *, verbatim: bool) -> Writer:
    """Writes a field of a message; `write_part` knows how its parts are written. `verbatim`: bytes that are JSON stand
    as their text even with space around it, which whoever reads a request does not keep."""
    write = _always_writer(field, write_part, verbatim=verbatim)
    return _unless_empty(field.name, write) if _may_be_absent(field) else write


def _always_writer(field: FieldDescriptor, write_part: PartWriter, *, verbatim: bool) -> Writer:
    name, key = field.name, field.json_name
    if field.full_name == VIOLATED_FIELD:
        return _path_writer
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_writer(field, verbatim)
    if field.message_type is not None:
        return _message_writer(field, write_part)
    if field.enum_type is not None:
        return _enum_writer(field)
    if is_repeated(field):
        return lambda message, out: out.__setitem__(key, list(getattr(message, name)))
    if field.has_presence:
        return _present_writer(name, key)

    def write(message: Message, out: dict[str, Any]) -> None:
        out[key] = getattr(message, name)

    return write


def _may_be_absent(field: FieldDescriptor) -> bool:
    return field.name in ABSENT_WHEN_EMPTY.get(field.full_name.removesuffix(f".{field.name}"), ())


def _path_writer(message: Any, out: dict[str, Any]) -> None:
    out["field"] = json_path(message.field)


def json_path(path: str) -> str:
    """A field's path as JSON has it: the broker speaks of max_attempts."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), path)


_UNDERSCORE = re.compile(r"_([a-z])")


def _unless_empty(name: str, write: Writer) -> Writer:
    def write_some(message: Message, out: dict[str, Any]) -> None:
        if getattr(message, name):
            write(message, out)

    return write_some


def _present_writer(name: str, key: str) -> Writer:
    def write(message: Message, out: dict[str, Any]) -> None:
        if message.HasField(name):
            out[key] = getattr(message, name)

    return write


def _bytes_writer(field: FieldDescriptor, verbatim: bool) -> Writer:
    name, key = field.name, field.json_name

    def write(message: Message, out: dict[str, Any]) -> None:
        data: bytes = getattr(message, name)
        if data or (field.has_presence and message.HasField(name)):
            out.update(bytes_members(key, data, verbatim=verbatim))

    return write


def bytes_members(key: str, data: bytes, *, verbatim: bool = True) -> dict[str, Any]:
    """Bytes under `key` as the JSON that they are, else in base64 under `keyBase64`."""
    if data and is_json(data) and (verbatim or data == data.strip(SPACE)):
        return {key: Raw(data)}
    return {key + BASE64: b64encode(data).decode()}


def _message_writer(field: FieldDescriptor, write_part: PartWriter) -> Writer:
    name, key, descriptor = field.name, field.json_name, part_of(field)

    def write_labels(message: Message, out: dict[str, Any]) -> None:
        out[key] = dict(getattr(message, name))

    def write_list(message: Message, out: dict[str, Any]) -> None:
        write_item = write_part(descriptor)
        out[key] = [write_item(item) for item in getattr(message, name)]

    def write_one(message: Message, out: dict[str, Any]) -> None:
        if message.HasField(name):
            out[key] = write_part(descriptor)(getattr(message, name))

    if is_map(field):
        return write_labels
    return write_list if is_repeated(field) else write_one


def _enum_writer(field: FieldDescriptor) -> Writer:
    enum = field.enum_type
    assert enum is not None, "only called for enums"
    name, key, names = field.name, field.json_name, short_names(enum)

    def written(number: int) -> str | int:
        return names.get(number, number)  # a newer broker's word, for which we only have the number

    if is_repeated(field):
        return lambda message, out: out.__setitem__(key, [written(number) for number in getattr(message, name)])
    return lambda message, out: out.__setitem__(key, written(getattr(message, name)))

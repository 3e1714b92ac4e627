"""From bytes to requests, and what is wrong with bytes that are none."""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from osqueue_service.errors import InvalidRequest, PayloadTooLarge
from osqueue_service.limits import Limits

Parse = Callable[[bytes], Any]

COUNTED_BYTES = 64 * 1024
"""Larger messages are counted before they are built: an element takes two bytes on the wire and a hundred in memory."""


def parser_of(message: Descriptor, limits: Limits, *, strict: bool) -> Parse:
    """Parses one request message; the function raises INVALID_REQUEST or PAYLOAD_TOO_LARGE. `strict`: also where the
    message has fields that this broker does not know."""
    parse: Parse = message_factory.GetMessageClass(message).FromString
    outline = Outline(message)
    bytes_max, elements_max = limits.message_bytes, max(limits.batch_items, limits.work_slots)

    def parsed(data: bytes) -> Any:
        size = len(data)
        if size > bytes_max:
            raise PayloadTooLarge(
                f"the message has {size:,} bytes; at most {bytes_max:,} are allowed (message_bytes): "
                "send fewer or smaller items per call"
            )
        try:
            if size > COUNTED_BYTES:
                outline.check(data, elements_max)
            request = parse(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the message is not a {message.name}: {error}. Strings must be valid UTF-8") from None
        if strict:
            # Known fields take as many bytes as were read, or the encoding is unusual: then every field is looked at.
            request.DiscardUnknownFields()
            if request.ByteSize() != size:
                check_known(parse(data))
        return request

    return parsed


def check_known(message: Message, path: str = "") -> None:
    """Raises INVALID_REQUEST for a field that this broker does not know: doing what the rest says would not be what the
    caller asked for."""
    unknown: Any = UnknownFieldSet(message)
    if len(unknown):
        number, name = unknown[0].field_number, message.DESCRIPTOR.name
        raise InvalidRequest.field(
            f"{path}{number}",
            f"this broker is too old for field {number} of {name}: upgrade it, or leave out what the field asks for",
        )
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for index, each in enumerate(value):
                check_known(each, f"{path}{field.name}[{index}].")
        else:
            check_known(value, f"{path}{field.name}.")


class Outline:
    """A message whose repeated messages stay bytes: enough to count them, at a tenth of the memory."""

    def __init__(self, message: Descriptor) -> None:
        file = descriptor_pb2.FileDescriptorProto(name="outline.proto", package="outline", syntax="proto3")
        self._counts = _outlined(message, file)
        self._parse: Parse | None = None
        if self._counts:
            pool = descriptor_pool.DescriptorPool()
            pool.Add(file)
            found = pool.FindMessageTypeByName(f"outline.{message.name}")
            self._parse = message_factory.GetMessageClass(found).FromString

    def check(self, data: bytes, elements_max: int) -> None:
        """Raises INVALID_REQUEST for more elements in one field than any call may have."""
        if self._parse is None:
            return
        outline = self._parse(data)
        for path in self._counts:
            count = _count(outline, path)
            if count > elements_max:
                raise InvalidRequest.field(
                    ".".join(path),
                    f"has {count:,} elements; no call may have more than {elements_max:,} (batch_items, work_slots)",
                )


def _outlined(message: Descriptor, file: descriptor_pb2.FileDescriptorProto) -> list[tuple[str, ...]]:
    """Adds the outline of a message to the file; the paths of the fields that are to be counted in it."""
    paths: list[tuple[str, ...]] = []
    proto = descriptor_pb2.DescriptorProto(name=message.name)
    for field in message.fields:
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            paths.append((field.name,))
            proto.field.add(name=field.name, number=field.number, label=_label(field), type=FieldDescriptor.TYPE_BYTES)
        elif inner := _outlined(field.message_type, file):
            paths += [(field.name, *path) for path in inner]
            proto.field.add(
                name=field.name,
                number=field.number,
                label=_label(field),
                type=FieldDescriptor.TYPE_MESSAGE,
                type_name=f".outline.{field.message_type.name}",
            )
    if paths:
        file.message_type.append(proto)
    return paths


def _label(field: FieldDescriptor) -> Any:
    return FieldDescriptor.LABEL_REPEATED if field.is_repeated else FieldDescriptor.LABEL_OPTIONAL


def _count(outline: Message, path: tuple[str, ...]) -> int:
    found: Any = outline
    for name in path:
        found = getattr(found, name)
    return len(found)

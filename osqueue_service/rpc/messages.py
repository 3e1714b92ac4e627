"""From bytes to requests, and what is wrong with bytes that are none."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
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
    """Which fields of a message are lists of messages. Their elements are counted on the wire, so that a message with
    millions of them costs no more than one at the limit."""

    def __init__(self, message: Descriptor, path: str = "") -> None:
        self.lists: int
        """Of it and of all messages in it."""
        self._lists: dict[int, str] = {}
        self._inner: dict[int, Outline] = {}
        for field in message.fields:
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                continue
            if field.is_repeated:
                self._lists[field.number] = f"{path}{field.name}"
            else:
                inner = Outline(field.message_type, f"{path}{field.name}.")
                if inner.lists:
                    self._inner[field.number] = inner
        self.lists = len(self._lists) + sum(inner.lists for inner in self._inner.values())

    def check(self, data: bytes, elements_max: int) -> None:
        """Raises INVALID_REQUEST for more elements in one list, or more fields, than any call may have. What is not a
        message is the parser's to refuse."""
        with suppress(IndexError):
            self._check(data, 0, len(data), elements_max, (self.lists + 1) * elements_max)

    def _check(self, data: bytes, position: int, end: int, elements_max: int, fields_max: int) -> int:
        """Returns how many more fields there may be."""
        counts = dict.fromkeys(self._lists, 0)
        while position < end:
            fields_max -= 1
            if fields_max < 0:
                raise InvalidRequest("the message has more fields than any call may have")
            tag, position = _varint(data, position)
            number, kind = tag >> 3, tag & 7
            if kind == _LENGTH:
                size, position = _varint(data, position)
                if number in counts:
                    counts[number] += 1
                    if counts[number] > elements_max:
                        raise InvalidRequest.field(
                            self._lists[number],
                            f"has more than {elements_max:,} elements, which no call may (batch_items, work_slots)",
                        )
                elif number in self._inner:
                    inner = self._inner[number]
                    fields_max = inner._check(data, position, min(position + size, end), elements_max, fields_max)
                position += size
            elif kind == _VARINT:
                _, position = _varint(data, position)
            elif kind in _FIXED:
                position += _FIXED[kind]
            else:
                return fields_max  # a group, which no message of ours has
        return fields_max


_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at this position, and the position after it. IndexError where it does not end."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
        if shift > 63:
            raise IndexError("no varint is as long")

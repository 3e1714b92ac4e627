"""Protobuf's wire format by hand, so that a test can speak it without any generated code.

A message is a list of (field number, value) in order: an int travels as a varint, bytes or str length-delimited.
"""

from collections.abc import Iterable, Iterator

VARINT = 0
LENGTH_DELIMITED = 2

Value = int | bytes | str


def encode(fields: Iterable[tuple[int, Value]]) -> bytes:
    return b"".join(_encode_field(number, value) for number, value in fields)


def decode(data: bytes) -> list[tuple[int, int | bytes]]:
    return list(_decode_fields(data))


def _encode_field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _encode_varint(number << 3 | VARINT) + _encode_varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    body = value.encode() if isinstance(value, str) else value
    return _encode_varint(number << 3 | LENGTH_DELIMITED) + _encode_varint(len(body)) + body


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _decode_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _decode_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            value, position = _decode_varint(data, position)
            yield number, value
        elif wire_type == LENGTH_DELIMITED:
            length, position = _decode_varint(data, position)
            yield number, data[position : position + length]
            position += length
        else:
            raise ValueError(f"field {number}: wire type {wire_type} is not used by the fields under test")


def _decode_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7

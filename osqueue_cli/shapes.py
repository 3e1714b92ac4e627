"""What commands answer, as JSON: messages of the API in the very form of the gateway's answers, the command line's own
figures likewise in camelCase.

A payload or result that is JSON text stands as the text it is; any other stands as base64 under `payloadBase64` or
`resultBase64`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> Any:
    """The value with what carries a message as that message; of others, absent (None) fields are left out."""
    from osqueue.api import mapping

    message = mapping.message_of(type(value))
    if message is not None:
        from osqueue.api.json_shapes import shape

        return shape(message.DESCRIPTOR).write(mapping.to_message(value, message))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _object(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def bytes_members(key: str, data: bytes) -> dict[str, Any]:
    """The bytes under `key` as the JSON that they are, or under `keyBase64`."""
    from osqueue.api import json_writers

    return json_writers.bytes_members(key, data)


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, bytes):
            shaped.update(bytes_members(camel(name), value))
        elif value is not None:
            shaped[camel(name)] = to_json(value)
    return shaped


def camel(name: str) -> str:
    """snake_case as camelCase."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def preview(data: bytes, chars: int = 200) -> str:
    """The beginning of a payload for a person: its text, or what it is."""
    if data[:1] == b"\0":
        from osqueue.codecs import encoding_of

        if encoding := encoding_of(data):
            return f"({encoding}, {len(data):,} bytes)"
    try:
        text = data[: chars * 4].decode()
    except UnicodeDecodeError:
        return f"({len(data):,} bytes)"
    return text[:chars]

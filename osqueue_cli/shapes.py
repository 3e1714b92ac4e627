"""What the SDK answers, as JSON: the names and forms of the gateway's REST answers.

Fields are camelCase. A payload or result that is JSON text stands as the value it is; any other
stands as base64 under `payloadBase64` or `resultBase64`.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> Any:
    """The value with dataclasses and named tuples as objects; absent (None) fields are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _object(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, bytes):
            shaped.update(bytes_field(camel(name), value))
        else:
            shaped[camel(name)] = to_json(value)
    return shaped


def bytes_field(name: str, data: bytes) -> dict[str, Any]:
    """The bytes under `name` as the JSON value they hold, or under `nameBase64`."""
    try:
        return {name: json.loads(data, parse_constant=_refuse)}
    except (ValueError, RecursionError):  # not JSON: that is what base64 is for
        return {f"{name}Base64": base64.b64encode(data).decode()}


def camel(name: str) -> str:
    """snake_case as camelCase."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def preview(data: bytes, chars: int = 200) -> str:
    """The beginning of a payload for a person: its text, or what it is."""
    try:
        text = data[: chars * 4].decode()
    except UnicodeDecodeError:
        return f"({len(data):,} bytes)"
    return text[:chars]


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")

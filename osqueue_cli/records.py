"""Objects of the log as JSON: what was decided, record by record."""

from typing import Any

import msgspec

from osqueue_cli.shapes import bytes_members, camel
from osqueue_service.engine.codec import decode_commit
from osqueue_service.log import Fence, Segment
from osqueue_service.log.segment import Decoded


def object_json(key: str, size: int, decoded: Decoded) -> dict[str, Any]:
    """A segment with its records, or a fence."""
    entry = decoded.entry
    shaped: dict[str, Any] = {
        "key": key,
        "kind": "fence" if isinstance(entry, Fence) else "segment",
        "bytes": size,
        "lane": entry.lane,
        "sequence": entry.sequence,
        "incarnation": entry.incarnation,
        "hash": decoded.hash.hex(),
        "previousHash": entry.previous_hash.hex(),
    }
    if isinstance(entry, Segment):
        commit = decode_commit(entry.records, entry.format)
        shaped |= {
            "settled": entry.settled,
            "at": commit.at_ms,
            "records": [record_json(record) for record in commit.records],
        }
    else:
        shaped["continuesInLane"] = entry.epoch
    return shaped


def record_json(record: msgspec.Struct) -> dict[str, Any]:
    """One record: its name, then its fields."""
    return {"record": type(record).__name__, **struct_json(record)}


def struct_json(struct: msgspec.Struct) -> dict[str, Any]:
    """A structure of the stored format as an object, bytes as the JSON they hold or as base64."""
    shaped: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, bytes):
            shaped |= bytes_members(camel(name), value)
        elif value is not None:
            shaped[camel(name)] = _value(value)
    return shaped


def _value(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return struct_json(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _value(item) for key, item in value.items()}
    name = getattr(value, "name", None)
    return name.lower() if isinstance(name, str) else value

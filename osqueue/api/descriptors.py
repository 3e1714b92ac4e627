"""The messages, enums and RPCs of osqueue.v1 as the generated stubs describe them."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from osqueue_protocol import rpcs
from osqueue_protocol.rpcs import CLIENT_RPCS, Rpc, message_class

__all__ = [
    "MODULES",
    "RPCS",
    "Rpc",
    "is_map",
    "is_repeated",
    "message_class",
    "messages",
    "part_of",
    "short_names",
    "short_numbers",
]

MODULES: tuple[Any, ...] = rpcs.MODULES[:-1]
"""The stubs of everything that clients may call or be told."""


def messages() -> Iterator[Descriptor]:
    """Every message of the API."""
    for module in MODULES:
        yield from module.DESCRIPTOR.message_types_by_name.values()


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field is a list or a map. protobuf before 6 says so by a label, which later ones do away with."""
    known: bool | None = getattr(field, "is_repeated", None)
    return bool(getattr(field, "label", 0) == FieldDescriptor.LABEL_REPEATED) if known is None else known


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map: the API has maps of strings only."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def part_of(field: FieldDescriptor) -> Descriptor:
    """The message that a field of messages holds."""
    assert field.message_type is not None, f"{field.full_name} holds no message"
    return field.message_type


@cache
def short_names(enum: EnumDescriptor) -> dict[int, str]:
    """Number → name without the prefix that repeats the enum's own: JOB_VIEW_BASIC → BASIC."""
    prefix = len(enum.values_by_number[0].name) - len("UNSPECIFIED")
    return {value.number: value.name[prefix:] for value in enum.values}


@cache
def short_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The short names' numbers."""
    return {name: number for number, name in short_names(enum).items()}


RPCS = CLIENT_RPCS
"""Every RPC that clients may call, by name."""

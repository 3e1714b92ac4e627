"""The messages, enums and RPCs of osqueue.v1 as the generated stubs describe them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2

MODULES: tuple[Any, ...] = (queue_pb2, job_pb2, admin_pb2)
"""The stubs of everything that clients may call or be told."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method of a service."""

    service: str
    """The full name, such as "osqueue.v1.QueueService"."""
    name: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool

    @property
    def path(self) -> str:
        """Where gRPC and Connect find it."""
        return f"/{self.service}/{self.name}"

    @property
    def waits(self) -> bool:
        """Its caller may ask it to wait for something to happen."""
        return "wait_ms" in self.request.DESCRIPTOR.fields_by_name


def message_class(descriptor: Descriptor) -> type[Message]:
    """The generated class of one of the API's messages."""
    for module in MODULES:
        if descriptor.file.name == module.DESCRIPTOR.name:
            found: type[Message] = getattr(module, descriptor.name)
            return found
    raise LookupError(f"{descriptor.full_name} is not a message of osqueue.v1")


def messages() -> Iterator[Descriptor]:
    """Every message of the API."""
    for module in MODULES:
        yield from module.DESCRIPTOR.message_types_by_name.values()


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


def _rpcs() -> dict[str, Rpc]:
    rpcs = {}
    for module in MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rpcs[method.name] = Rpc(
                    service=service.full_name,
                    name=method.name,
                    request=message_class(method.input_type),
                    response=message_class(method.output_type),
                    client_streaming=method.client_streaming,
                    server_streaming=method.server_streaming,
                )
    return rpcs


RPCS = _rpcs()
"""Every RPC that clients may call, by name."""

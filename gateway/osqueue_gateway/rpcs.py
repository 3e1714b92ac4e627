"""The RPCs of the broker as the stubs describe them, by name."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2


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
    def waits(self) -> bool:
        """Its caller may ask it to wait for something to happen."""
        return "wait_ms" in self.request.DESCRIPTOR.fields_by_name


def message_class(descriptor: Descriptor) -> type[Message]:
    """The generated class of one of the API's messages."""
    for module in (queue_pb2, job_pb2, admin_pb2):
        if descriptor.file is module.DESCRIPTOR or descriptor.file.name == module.DESCRIPTOR.name:
            found: type[Message] = getattr(module, descriptor.name)
            return found
    raise LookupError(f"{descriptor.full_name} is not a message of osqueue.v1")


def _rpcs() -> dict[str, Rpc]:
    rpcs = {}
    modules: tuple[Any, ...] = (queue_pb2, admin_pb2)
    for module in modules:
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

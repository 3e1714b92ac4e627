"""The table of RPCs: what the descriptors of osqueue.v1 say of each.

A row is written in the proto, as options of the method. Everything that must know every RPC reads it here: handlers,
routes, WebSocket methods, Connect paths, what may be repeated, what a caller needs the right to do.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from osqueue_stubs.osqueue.v1 import (
    access_pb2,
    admin_pb2,
    batches_pb2,
    flow_pb2,
    job_pb2,
    options_pb2,
    queue_pb2,
    schedules_pb2,
    standby_pb2,
    workflows_pb2,
)

_FIELD = re.compile(r"\{([a-z_]+)\}")
_METHODS = ("GET", "POST")


QUEUE_FIELD = "queue"
"""The field by which a request says for which queue it is."""


class Repeat(Enum):
    """What a call that is sent again can do."""

    READS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    """Nothing: the RPC changes nothing."""
    ONCE = descriptor_pb2.MethodOptions.IDEMPOTENT
    """Nothing more than it did the first time."""
    HARMS = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    """It can happen twice, unless the request has one of the RPC's `once_by`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One REST route. `path_field` is the field of the request that takes the path's {id}; "" when it has none."""

    method: str
    path: str
    path_field: str


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
    scope: str
    """The right that a caller needs: "submit", "work", "read", "manage", "operate", "admin", or "any"."""
    repeat: Repeat
    once_by: tuple[str, ...]
    routes: tuple[Route, ...]
    path: str = field(init=False)
    """Where gRPC and Connect find it."""
    mutates: bool = field(init=False)
    """It may change something."""
    waits: bool = field(init=False)
    """Its caller may ask it to wait for something to happen."""
    names_queue: bool = field(init=False)
    """Its request says for which queue it is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", f"/{self.service}/{self.name}")
        object.__setattr__(self, "mutates", self.repeat is not Repeat.READS)
        object.__setattr__(self, "waits", "wait_ms" in self.request.DESCRIPTOR.fields_by_name)
        object.__setattr__(self, "names_queue", QUEUE_FIELD in self.request.DESCRIPTOR.fields_by_name)

    def may_repeat(self, request: Message) -> bool:
        """Whether this very request can be sent again, when nobody knows what became of it, without happening twice."""
        return self.repeat is not Repeat.HARMS or any(getattr(request, field) for field in self.once_by)


def message_class(descriptor: Descriptor) -> type[Message]:
    """The generated class of one of the API's messages."""
    for module in MODULES:
        if descriptor.file is module.DESCRIPTOR or descriptor.file.name == module.DESCRIPTOR.name:
            found: type[Message] = getattr(module, descriptor.name)
            return found
    raise LookupError(f"{descriptor.full_name} is not a message of osqueue.v1")


def _rpc(method: MethodDescriptor) -> Rpc:
    options: descriptor_pb2.MethodOptions = method.GetOptions()
    said = options.Extensions[options_pb2.rpc]
    if not said.scope:
        raise LookupError(f"{method.full_name} says not how it may be called: give it `option (rpc)` in the proto")
    return Rpc(
        service=method.containing_service.full_name,
        name=method.name,
        request=message_class(method.input_type),
        response=message_class(method.output_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        scope=options_pb2.Scope.Name(said.scope).removeprefix("SCOPE_").lower(),
        repeat=Repeat(options.idempotency_level),
        once_by=tuple(said.once_by),
        routes=tuple(_route(method, text) for text in said.routes),
    )


def _route(method: MethodDescriptor, text: str) -> Route:
    verb, _, path = text.partition(" ")
    fields = _FIELD.findall(path)
    known = set(method.input_type.fields_by_name.keys())
    if verb not in _METHODS or not path.startswith("/") or len(fields) > 1 or not known.issuperset(fields):
        raise LookupError(f"{method.full_name}: {text!r} is not a route, such as 'GET /v1/jobs/{{job_id}}'")
    return Route(verb, _FIELD.sub("{id}", path), fields[0] if fields else "")


MODULES: tuple[Any, ...] = (
    queue_pb2,
    job_pb2,
    admin_pb2,
    access_pb2,
    flow_pb2,
    schedules_pb2,
    workflows_pb2,
    batches_pb2,
    standby_pb2,
)
"""The stubs of everything that can be called; the last are for brokers among themselves."""

SERVICES = tuple(service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values())
"""The descriptors of every service of osqueue.v1."""

RPCS = {method.name: _rpc(method) for service in SERVICES for method in service.methods}
"""Every RPC by its name, which no two services share."""

CLIENT_RPCS = {name: rpc for name, rpc in RPCS.items() if not rpc.service.endswith(".StandbyService")}
"""Those that clients call; the others are between brokers."""

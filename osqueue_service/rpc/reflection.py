"""Server reflection, so that grpcurl and its kin need no proto files."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from osqueue_service.rpc.handlers import Context

SERVICE = descriptor_pool.Default().FindServiceByName(reflection.SERVICE_NAME)
STABLE_NAME = "grpc.reflection.v1.ServerReflection"
"""The service under its later name: the same messages on the wire. Tools ask for either."""


class Reflection:
    """Describes these services."""

    def __init__(self, services: Sequence[str]) -> None:
        # Any: its type declarations call its async generator a coroutine.
        self._answering: Any = reflection.aio.ReflectionServicer([*services, SERVICE.full_name, STABLE_NAME])

    async def ServerReflectionInfo(
        self, requests: AsyncIterable[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        async for answer in self._answering.ServerReflectionInfo(requests, context):
            yield answer

"""Server reflection, so that grpcurl and its kin need no proto files."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from osqueue_protocol.comments import add_comments
from osqueue_service.rpc.handlers import Context

_POOL = descriptor_pool.Default()
SERVICE = _POOL.FindServiceByName(reflection.SERVICE_NAME)
STABLE_NAME = "grpc.reflection.v1.ServerReflection"
"""The service under its later name: the same messages on the wire. Tools ask for either."""


class Reflection:
    """Describes these services."""

    def __init__(self, services: Sequence[str]) -> None:
        names = [*services, SERVICE.full_name, STABLE_NAME]
        # Any: its type declarations call its async generator a coroutine, and its pool nothing but protobuf's own.
        pool: Any = _CommentedPool()
        self._answering: Any = reflection.aio.ReflectionServicer(names, pool)

    async def ServerReflectionInfo(
        self, requests: AsyncIterable[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        async for answer in self._answering.ServerReflectionInfo(requests, context):
            yield answer


class _CommentedFile:
    """A file as reflection answers it: with the comments of its source."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name = file.name

    @property
    def dependencies(self) -> list["_CommentedFile"]:
        return [_CommentedFile(each) for each in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:
        self._file.CopyToProto(proto)
        add_comments(proto)


class _CommentedPool:
    """The pool of all descriptors, as reflection asks it."""

    def FindFileByName(self, name: str) -> _CommentedFile:
        return _CommentedFile(_POOL.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> _CommentedFile:
        try:
            return _CommentedFile(_POOL.FindFileContainingSymbol(symbol))
        except KeyError:
            # Protobuf's own pool does not find methods, of which tools ask by their full names.
            return _CommentedFile(_POOL.FindMethodByName(symbol).containing_service.file)

    def __getattr__(self, name: str) -> Any:
        return getattr(_POOL, name)

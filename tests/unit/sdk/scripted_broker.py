"""A gRPC server that answers as a test tells it to, on the wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from osqueue_stubs.osqueue.v1 import queue_pb2

Context = grpc.aio.ServicerContext[Any, Any]


class Refusal(Exception):
    """Makes the server answer with this status, details and trailing metadata."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str = "",
        *,
        reason: str = "",
        violations: tuple[tuple[str, str], ...] = (),
        retry_after_ms: int | None = None,
        leader: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.trailing: list[tuple[str, str | bytes]] = []
        if reason:
            self.trailing.append(("grpc-status-details-bin", _details(code, reason, violations, retry_after_ms)))
        if leader:
            self.trailing.append(("osqueue-leader", leader))


def not_leader(leader: str = "") -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, "not the leader", reason="NOT_LEADER", leader=leader)


class ScriptedBroker:
    """Each method answers with the next of its script; the last one goes on."""

    def __init__(self) -> None:
        self.address = ""
        self.calls: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self._scripts: dict[str, list[Any]] = {}

    def answer(self, method: str, *answers: Any) -> None:
        """A message, a `Refusal`, or a function of the request and the context (possibly a coroutine function)."""
        self._scripts[method] = list(answers)

    async def serve(self, method: str, request: Any, context: Context) -> Any:
        self.calls.append((method, request))
        self.metadata.append(dict(context.invocation_metadata() or ()))
        script = self._scripts[method]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = await answer(request, context)
        if isinstance(answer, Refusal):
            context.set_trailing_metadata(tuple(answer.trailing))
            await context.abort(answer.code, answer.message)
        return answer


@asynccontextmanager
async def running(*brokers: ScriptedBroker) -> AsyncIterator[None]:
    """Serve them, each on a port of its own."""
    servers = []
    for broker in brokers:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_handlers(broker),))
        broker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        servers.append(server)
    try:
        yield
    finally:
        for server in servers:
            await server.stop(None)


def _handlers(broker: ScriptedBroker) -> grpc.GenericRpcHandler:
    service = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
    handlers = {}
    for method in service.methods:
        if method.client_streaming:
            continue

        def make(name: str, streaming: bool) -> Any:
            async def unary(request: Any, context: Context) -> Any:
                return await broker.serve(name, request, context)

            async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
                for message in await broker.serve(name, request, context):
                    yield message

            return stream if streaming else unary

        kind = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = kind(
            make(method.name, method.server_streaming),
            request_deserializer=getattr(queue_pb2, method.input_type.name).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _details(
    code: grpc.StatusCode, reason: str, violations: tuple[tuple[str, str], ...], retry_after_ms: int | None
) -> bytes:
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="osqueue")]
    if violations:
        fields = [error_details_pb2.BadRequest.FieldViolation(field=f, description=d) for f, d in violations]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if retry_after_ms is not None:
        delay = duration_pb2.Duration(nanos=retry_after_ms * 1_000_000)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], details=packed).SerializeToString()

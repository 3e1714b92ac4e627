"""From a service's description to gRPC handlers: parse, guard, call the implementation, map errors, count.

This is not a server interceptor because an interceptor does not see who calls: the peer is known to the context only.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from osqueue_service.clock import Clock
from osqueue_service.errors import InternalError, InvalidRequest, OsqueueError, PayloadTooLarge
from osqueue_service.ids import IdSource
from osqueue_service.metrics import Calls
from osqueue_service.rpc.auth import Guard
from osqueue_service.rpc.departure import Departure
from osqueue_service.rpc.status import code_of, message_of, trailing_metadata

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Behaviour = Callable[[Any, Context], Awaitable[Any]]
Parse = Callable[[bytes], Any]

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Unreadable:
    """Stands for a request that could not be parsed, until its handler can say so."""

    __slots__ = ("error",)

    def __init__(self, error: InvalidRequest) -> None:
        self.error = error


class Handlers(grpc.GenericRpcHandler):
    """The handlers of the services added, by method."""

    def __init__(
        self,
        *,
        guard: Guard,
        departure: Departure,
        message_bytes: int,
        calls: Calls,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._guard = guard
        self._departure = departure
        self._message_bytes = message_bytes
        self._calls = calls
        self._clock = clock
        self._ids = ids
        self._handlers: dict[str, Handler] = {}

    def add(self, service: ServiceDescriptor, implementations: Sequence[object], *, name: str = "") -> None:
        """Serve every method of the service, under another `name` if one is given.

        A method is an async function of (request, context); one that streams its answer is an async generator, and
        the request of one that takes a stream is an async iterator.
        """
        for method in service.methods:
            (served,) = [getattr(one, method.name) for one in implementations if hasattr(one, method.name)]
            if method.server_streaming:
                served = self._written(served)
            if method.client_streaming:
                served = _readable(served)
            kind = _KINDS[method.client_streaming, method.server_streaming]
            behaviour = self._guarded(method.name, served)
            self._handlers[f"/{name or service.full_name}/{method.name}"] = kind(
                behaviour, self._parser(method), _serialized
            )

    @property
    def methods(self) -> frozenset[str]:
        """The methods served, as paths."""
        return frozenset(self._handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        return self._handlers.get(handler_call_details.method)

    def _guarded(self, method: str, served: Behaviour) -> Behaviour:
        """The implementation with everything around it that all methods share."""
        clock, calls = self._clock, self._calls

        async def handle(request: Any, context: Context) -> Any:
            started_ms = clock.monotonic_ms()
            try:
                self._admit(request, context)
                answer = await served(request, context)
            except asyncio.CancelledError:
                calls.ended(method, "CANCELLED", clock.monotonic_ms() - started_ms)
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the caller hears of it
                refusal = self._told(method, error)
                calls.ended(method, refusal.reason, clock.monotonic_ms() - started_ms)
                await abort(context, refusal)
            calls.ended(method, "OK", clock.monotonic_ms() - started_ms)
            return answer

        return handle

    def _admit(self, request: Any, context: Context) -> None:
        refusal = self._guard.refusal(context)
        if refusal is not None:
            raise refusal
        if request.__class__ is Unreadable:
            raise request.error

    def _told(self, method: str, error: Exception) -> OsqueueError:
        """What the caller hears. A defect is logged under an id that leads from the caller's message to the log."""
        if isinstance(error, OsqueueError) and not isinstance(error, InternalError):
            return error
        self._calls.defects += 1
        defect = self._ids.nonce()[:8]
        log.error("defect %s in %s: %r", defect, method, error, exc_info=error)
        return InternalError(
            f"the broker failed in a way nobody foresaw; its log tells more under the id {defect}. "
            "Whether the call had an effect is not known"
        )

    def _written(self, stream: Callable[[Any, Context], AsyncGenerator[Message, None]]) -> Behaviour:
        """An async generator as a function that writes what is yielded, no faster than the caller reads."""

        async def write_all(request: Any, context: Context) -> None:
            # Closed at once when the caller goes: the collector would get round to its `finally` at some later time.
            async with aclosing(stream(request, context)) as messages:
                async for message in messages:
                    await context.write(message)

        return lambda request, context: self._departure.until(write_all(request, context))

    def _parser(self, method: MethodDescriptor) -> Parse:
        """Parsing that hands a bad message to the handler, because only the handler can answer with details."""
        parse: Parse = GetMessageClass(method.input_type).FromString
        name, bytes_max = method.input_type.name, self._message_bytes

        def parsed(data: bytes) -> Any:
            if len(data) > bytes_max:
                return Unreadable(
                    PayloadTooLarge(
                        f"the message has {len(data):,} bytes; at most {bytes_max:,} are allowed (message_bytes): "
                        "send fewer or smaller items per call"
                    )
                )
            try:
                return parse(data)
            except (DecodeError, UnicodeDecodeError) as error:
                return Unreadable(InvalidRequest(f"the message is not a {name}: {error}. Strings must be valid UTF-8"))

        return parsed


def _readable(behaviour: Behaviour) -> Behaviour:
    """A stream of requests whose iteration raises at one that could not be parsed."""

    async def requests(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in stream:
            if request.__class__ is Unreadable:
                raise request.error
            yield request

    async def handle(stream: AsyncIterator[Any], context: Context) -> Any:
        return await behaviour(requests(stream), context)

    return handle


async def abort(context: Context, error: OsqueueError) -> NoReturn:
    """End the call with the error."""
    await context.abort(code_of(error), message_of(error), trailing_metadata(error))


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()

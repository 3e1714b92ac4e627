"""From a service's description to gRPC handlers: guard, parse, call the implementation, map errors, count.

This is not a server interceptor because an interceptor does not see who calls: the peer is known to the context only.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from osqueue_protocol.rights import ANY, DEFAULT_QUEUE, READ, READ_PAYLOAD
from osqueue_protocol.rpcs import RPCS
from osqueue_service.clock import Clock
from osqueue_service.errors import InternalError, InvalidRequest, OsqueueError, PermissionDenied
from osqueue_service.ids import IdSource
from osqueue_service.limits import Limits
from osqueue_service.metrics import Calls
from osqueue_service.rpc.access.principal import (
    CERTIFIED,
    LOCAL,
    Principal,
    answer_for,
    answer_in,
    denied,
    rights_here,
)
from osqueue_service.rpc.access.streams import while_let_in
from osqueue_service.rpc.access.withholding import withhold
from osqueue_service.rpc.auth import Guard
from osqueue_service.rpc.messages import Parse, parser_of
from osqueue_service.rpc.routes import Parts, Requests, Routes, for_one_queue, is_routed
from osqueue_service.rpc.shutdown import Shutdown
from osqueue_service.rpc.status import Trailing, code_of, message_of, trailing_metadata

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Behaviour = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[Any, Context], AsyncGenerator[Message, None]]

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


BOUND_MAX = 4_096
"""Handlers kept for callers that showed a token, one for each of them and method; beyond it all are made anew."""


class Served(NamedTuple):
    """A method as it is served to anybody."""

    name: str
    scope: str
    behaviour: "Behaviour"
    kind: Callable[..., Any]
    streams: bool
    """It may go on for as long as its caller likes."""
    asks_itself: bool
    """The token is in the request: who may call is decided by the behaviour."""
    routed: bool
    """The request says for which queue it is."""

    def is_open_to(self, principal: Principal) -> bool:
        """Whether it may call, before a byte of the request is read; where that names a queue, in any queue."""
        rights = principal.rights
        return (rights if self.routed else rights.in_queue(DEFAULT_QUEUE)).may(self.scope)

    def denied(self, principal: Principal) -> PermissionDenied:
        """Why it may not."""
        return denied(principal, self.scope, self.name, DEFAULT_QUEUE)


class Ending(NamedTuple):
    """How a refused call ends: the error without the exception, which would keep the request and all its frames alive
    until a collection, and collections are rare here."""

    reason: str
    status: tuple[grpc.StatusCode, str, Trailing]


class Handlers(grpc.GenericRpcHandler):
    """The handlers of the services added, by method."""

    def __init__(
        self,
        *,
        guard: Guard,
        shutdown: Shutdown,
        limits: Limits,
        calls: Calls,
        clock: Clock,
        ids: IdSource,
        for_strangers: bool = False,
    ) -> None:
        """`for_strangers`: whoever can reach the port may begin to send. Their place is looked at before a byte of the
        request is read, and the request has to arrive in time; that costs each call one more step."""
        self._for_strangers = for_strangers
        self._guard = guard
        self._shutdown = shutdown
        self._limits = limits
        self._calls = calls
        self._clock = clock
        self._ids = ids
        self._served: dict[str, Served] = {}
        self._handlers: dict[str, Handler] = {}
        self._bound: dict[tuple[str, Principal], Handler] = {}

    def add(
        self,
        service: ServiceDescriptor,
        implementations: Sequence[object],
        *,
        name: str = "",
        strict: bool = False,
        asks_itself: bool = False,
        routes: Routes | None = None,
    ) -> None:
        """Serve every method of the service, under another `name` if one is given. `strict`: refuse requests that have
        fields which are not known here. `asks_itself`: callers show their token in the request, and every method
        of the implementations decides with the guard whether to serve them. `routes` finds what serves a request that
        names its queue.

        A method is an async function of (request, context); one that streams its answer is an async generator, and
        the request of one that takes a stream is an async iterator.
        """
        for method in service.methods:
            (served,) = [getattr(one, method.name) for one in implementations if hasattr(one, method.name)]
            rpc = RPCS.get(method.name) if not name else None
            scope = rpc.scope if rpc is not None and rpc.service == service.full_name else ANY
            routed = routes if is_routed(method.input_type) else None
            if method.server_streaming:
                served = self._written(served, scope, method.name, routed)
            else:
                if routed is not None:
                    served = _routed(served, scope, method.name, routed)
                if scope == READ:
                    served = _withholding(served)
            parse = parser_of(method.input_type, self._limits, strict=strict)
            if routed is not None and not method.client_streaming:
                parse = for_one_queue(parse, method.input_type)
            if method.client_streaming:
                parts = Parts(method.input_type) if routed is not None else None
                served = _parsing_stream(served, parse, parts)
            else:
                served = _parsing(served, parse)
            takes_stream = method.client_streaming
            if self._for_strangers and not takes_stream:
                # On the wire a single request is a stream of one; a stream is handed over before it has arrived.
                served, takes_stream = self._received(served), True
            kind = _KINDS[takes_stream, method.server_streaming]
            path = f"/{name or service.full_name}/{method.name}"
            streams = method.client_streaming or method.server_streaming
            self._served[path] = Served(method.name, scope, served, kind, streams, asks_itself, routed is not None)
            self._handlers[path] = self._handler(self._served[path], LOCAL)

    @property
    def methods(self) -> frozenset[str]:
        """The methods served, as paths."""
        return frozenset(self._handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Called before a byte of the request is read: here callers who may not call are turned away."""
        path, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        served = self._served.get(path)
        if served is None:
            return None
        principal = LOCAL if served.asks_itself else self._guard.admit(metadata)
        if principal is LOCAL:
            return self._handlers[path]
        if isinstance(principal, OsqueueError):
            return self._turned_away(served.name, principal, metadata)
        if principal is not CERTIFIED and not served.is_open_to(principal):
            return self._turned_away(served.name, served.denied(principal), metadata)
        handler = self._bound.get((path, principal))
        if handler is None:
            if len(self._bound) >= BOUND_MAX:
                self._bound.clear()
            handler = self._bound[path, principal] = self._handler(served, principal)
        return handler

    def _handler(self, served: Served, principal: Principal) -> Handler:
        handler: Handler = served.kind(self._guarded(served, principal), None, _serialized)
        return handler

    def _turned_away(self, method: str, error: OsqueueError, metadata: Any) -> Handler:
        """A handler that ends the call. It takes a stream, whatever the caller sends: a stream need not be read."""

        async def refuse(requests: Any, context: Context) -> None:
            ending = _ending(await self._guard.second_look(metadata, error))
            self._calls.ended(method, ending.reason, 0.0)
            end = context.abort(*ending.status)
            del requests, context
            await end

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _guarded(self, method_served: Served, principal: Principal) -> Behaviour:
        """The implementation with everything around it that all methods share. The request is still bytes."""
        clock, calls, guard = self._clock, self._calls, self._guard
        method, served, streams = method_served.name, method_served.behaviour, method_served.streams

        async def handle(request: Any, context: Context) -> Any:
            started_ms = clock.monotonic_ms()
            try:
                if principal is LOCAL:
                    guard.check_place(context)
                    answer = await served(request, context)
                else:
                    who = self._certified(method_served, context) if principal is CERTIFIED else principal
                    answer_for(who)
                    work = served(request, context)
                    answer = await (while_let_in(who, work, clock) if streams else work)
            except asyncio.CancelledError:
                calls.ended(method, "CANCELLED", clock.monotonic_ms() - started_ms)
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the caller hears of it
                ending = _ending(self._told(method, error))
            else:
                calls.ended(method, "OK", clock.monotonic_ms() - started_ms)
                return answer
            calls.ended(method, ending.reason, clock.monotonic_ms() - started_ms)
            end = context.abort(*ending.status)
            # The context remembers what `abort` raises, and that would remember this frame, with all that it holds.
            del request, context
            await end

        return handle

    def _certified(self, served: Served, context: Context) -> Principal:
        principal = self._guard.of_certificate(context)
        if not served.is_open_to(principal):
            raise served.denied(principal)
        return principal

    def _received(self, behaviour: Behaviour) -> Behaviour:
        """With the one message of a stream, which has to come in time."""
        clock, limit_ms = self._clock, self._limits.message_ms

        async def handle(requests: AsyncIterator[bytes], context: Context) -> Any:
            try:
                request = await clock.within_ms(limit_ms, anext(requests))
            except StopAsyncIteration:
                raise InvalidRequest("the call has no message") from None
            except TimeoutError:
                late = f"the request did not arrive within {limit_ms} ms, which is the limit (message_ms)"
                raise InvalidRequest(late) from None
            return await behaviour(request, context)

        return handle

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

    def _written(self, stream: Stream, scope: str, method: str, routes: Routes | None) -> Behaviour:
        """An async generator as a function that writes what is yielded, no faster than the caller reads."""

        async def write_all(request: Any, context: Context) -> None:
            opened: Stream = stream
            used: AbstractContextManager[None] = nullcontext()
            if routes is not None:
                if isinstance(request, Requests):
                    routes.check_leads()  # rather than wait for a first request that is of no use here
                    queue = await request.first_queue()
                else:
                    queue = request.queue
                answer_in(queue, scope, method)
                if queue:
                    found = await routes.find(queue, method)
                    opened, used = found.behaviour, found.queue.in_use()
            hides = scope == READ and not rights_here().may(READ_PAYLOAD)
            # Closed at once when the caller goes: the collector would get round to its `finally` at some later time.
            async with aclosing(opened(request, context)) as messages:
                with used:
                    async for message in messages:
                        if hides:
                            withhold(message)
                        await context.write(message)

        return lambda request, context: self._shutdown.until(write_all(request, context))


def _parsing(behaviour: Behaviour, parse: Parse) -> Behaviour:
    async def handle(request: bytes, context: Context) -> Any:
        return await behaviour(parse(request), context)

    return handle


def _routed(behaviour: Behaviour, scope: str, method: str, routes: Routes) -> Behaviour:
    """For the queue that the request names."""

    async def handle(request: Any, context: Context) -> Any:
        answer_in(request.queue, scope, method)
        if request.queue:
            found = await routes.find(request.queue, method)
            with found.queue.in_use():
                return await found.behaviour(request, context)
        return await behaviour(request, context)

    return handle


def _withholding(behaviour: Behaviour) -> Behaviour:
    """Without what callers sent, for those who may see jobs and not their data."""

    async def handle(request: Any, context: Context) -> Any:
        answer = await behaviour(request, context)
        if not rights_here().may(READ_PAYLOAD):
            withhold(answer)
        return answer

    return handle


def _parsing_stream(behaviour: Behaviour, parse: Parse, parts: Parts | None) -> Behaviour:
    """With a stream of requests whose iteration raises at one that cannot be parsed."""

    async def handle(stream: AsyncIterator[bytes], context: Context) -> Any:
        return await behaviour(Requests(stream, parse, parts), context)

    return handle


def _ending(error: OsqueueError) -> Ending:
    return Ending(error.reason, (code_of(error), message_of(error), trailing_metadata(error)))


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()

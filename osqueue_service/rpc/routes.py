"""Which queue a request is for: the one place where that is decided, for every RPC alike.

A request whose message has the field `queue` goes to what serves the queue of that name; with the field empty, to what
serves the default queue. A new RPC need only have the field.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor

from osqueue_protocol.rpcs import QUEUE_FIELD
from osqueue_service.errors import InvalidRequest
from osqueue_service.queues import NamedQueue, OpenQueues
from osqueue_service.rpc.messages import Parse


class _Served(NamedTuple):
    queue: NamedQueue
    servicers: list[Any]


class Found(NamedTuple):
    """What serves a call: mark the queue as in use in the same step, or it may be parked."""

    queue: NamedQueue
    behaviour: Callable[[Any, Any], Any]


class Routes:
    """What serves each open queue."""

    def __init__(self, queues: OpenQueues, serve: Callable[[NamedQueue], list[Any]]) -> None:
        self._queues = queues
        self._serve = serve
        self._served: dict[str, _Served] = {}

    def check_leads(self) -> None:
        """Raises `NotLeader` where this broker serves no queue."""
        self._queues.check_leads()

    async def find(self, queue_name: str, method: str) -> Found:
        """The function that serves the method for this queue, which is opened if need be."""
        queue = self._queues.find(queue_name) or await self._queues.open(queue_name)
        served = self._served.get(queue_name)
        if served is None or served.queue is not queue:
            served = self._served[queue_name] = _Served(queue, self._serve(queue))
            queue.term.lost.listen(lambda _: self._forget(queue))
        return Found(queue, next(getattr(each, method) for each in served.servicers if hasattr(each, method)))

    def _forget(self, queue: NamedQueue) -> None:
        served = self._served.get(queue.name)
        if served is not None and served.queue is queue:
            del self._served[queue.name]


def is_routed(request: Descriptor) -> bool:
    """Whether the request says which queue it is for."""
    return QUEUE_FIELD in request.fields_by_name


class Inner(NamedTuple):
    """A field that holds messages which are, or hold, requests that can be sent by themselves."""

    field: str
    is_list: bool
    names_queue: bool
    inner: "tuple[Inner, ...]"


def inner_requests(message: Descriptor, outer: tuple[Descriptor, ...] = ()) -> tuple[Inner, ...]:
    """Where in a request there are others, each of which could name a queue of its own."""
    found = []
    for field in message.fields:
        part = field.message_type
        if part is None or part in outer or part.GetOptions().map_entry:
            continue
        each = Inner(field.name, field.is_repeated, is_routed(part), inner_requests(part, (*outer, message)))
        if each.names_queue or each.inner:
            found.append(each)
    return tuple(found)


class Parts:
    """The parts of one kind of request, each of which could name another queue than the whole.

    They are looked at only where the bytes say that more than the request itself may name a queue: most name none.
    """

    def __init__(self, message: Descriptor) -> None:
        self._inner = inner_requests(message)
        # What a field with one character begins with, before its length.
        self._tag = message_factory.GetMessageClass(message)(queue="q").SerializeToString()[:-2]

    def check(self, data: bytes, request: Any, queue: str) -> None:
        """Raises INVALID_REQUEST where a part of the request, parsed from these bytes, names another queue."""
        if self._tag in data and data.count(self._tag) > bool(request.queue):
            _check_inner(request, queue, self._inner)


def for_one_queue(parse: Parse, message: Descriptor) -> Parse:
    """Parses requests as before, and raises INVALID_REQUEST where a part of one names another queue than the whole."""
    parts = Parts(message)

    def parsed(data: bytes) -> Any:
        request = parse(data)
        parts.check(data, request, request.queue)
        return request

    return parsed


def _check_inner(message: Any, queue: str, inner: tuple[Inner, ...], path: str = "") -> None:
    for each in inner:
        if each.is_list:
            for position, part in enumerate(getattr(message, each.field)):
                if (each.names_queue and part.queue) or each.inner:
                    _check_part(part, queue, each, f"{path}{each.field}[{position}].")
        elif message.HasField(each.field):
            _check_part(getattr(message, each.field), queue, each, f"{path}{each.field}.")


def _check_part(part: Any, queue: str, each: Inner, path: str) -> None:
    if each.names_queue and part.queue and part.queue != queue:
        raise InvalidRequest.field(
            f"{path}queue", "a call is for one queue: name it in the call itself, not in a part of it"
        )
    _check_inner(part, queue, each.inner, path)


class Requests:
    """The requests of a stream, the first of which may be looked at before it is taken, and says for which queue all
    are."""

    __slots__ = ("_ahead", "_messages", "_parse", "_parts", "_queue", "_stream")

    def __init__(self, stream: AsyncIterator[bytes], parse: Parse, parts: Parts | None) -> None:
        """`parts`: of requests that say which queue they are for."""
        self._stream = stream
        # Made when it is first used: gRPC's, thrown away unused, warns that it was never awaited.
        self._messages: AsyncIterator[bytes] | None = None
        self._parse = parse
        self._parts = parts
        self._queue: str | None = None
        self._ahead: Any = None

    async def first_queue(self) -> str:
        """The queue that the first request names; "" for the default queue, or where there is no request."""
        try:
            self._ahead = await anext(self)
        except StopAsyncIteration:
            return ""
        name: str = self._ahead.queue
        return name

    def __aiter__(self) -> "Requests":
        return self

    async def __anext__(self) -> Any:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        if self._messages is None:
            self._messages = aiter(self._stream)
        data = await anext(self._messages)
        request = self._parse(data)
        if self._parts is not None:
            if self._queue is None:
                self._queue = request.queue
            elif request.queue and request.queue != self._queue:
                raise InvalidRequest.field(
                    QUEUE_FIELD, f"this stream is for {self._queue or 'the default queue'}, as its first request said"
                )
            self._parts.check(data, request, self._queue)
        return request

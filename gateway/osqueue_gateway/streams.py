"""Answers that go on: the whole state as one JSON document, and what happens to jobs as server-sent events."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from google.protobuf.message import Message

from osqueue.api.events import events_of
from osqueue.api.json_shapes import shape
from osqueue.api.json_text import encode
from osqueue.api.queries import query_shape, read_position
from osqueue_gateway.calls import FIRST_FRAME_MS, Calls, Feed, FeedEnded
from osqueue_gateway.errors import problem_of
from osqueue_gateway.limits import Limits
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.routes import Route
from osqueue_gateway.wire import headers_of

LAST_EVENT_ID = "Last-Event-ID"


class Streams:
    """Answers the streaming routes."""

    def __init__(self, calls: Calls, limits: Limits, metrics: Metrics) -> None:
        self._calls = calls
        self._comment_ms = limits.event_comment_ms
        self._metrics = metrics
        self._forward: dict[str, Callable[[web.BaseRequest, Feed], Awaitable[web.StreamResponse]]] = {
            "GetState": self._state,
            "WatchJobs": self._events,
        }

    async def answer(self, http: web.BaseRequest, route: Route, query: str) -> web.StreamResponse:
        """The whole stream; raises what went wrong before it began."""
        request: Any = query_shape(route.rpc.request.DESCRIPTOR).read(query)
        if route.rpc.name == "WatchJobs" and (last := http.headers.get(LAST_EVENT_ID)):
            _resume(request, last)
        async with self._calls.feed(route.rpc, request) as feed:
            return await self._forward[route.rpc.name](http, feed)

    async def _state(self, http: web.BaseRequest, feed: Feed) -> web.StreamResponse:
        """`{broker, brokerHeartbeat, jobs, completedTotal}`, job by job as they come."""
        first = await _first(feed)
        header = first.header
        answer = await _opened(http, "application/json")
        head = encode({"broker": header.broker, "brokerHeartbeat": header.broker_heartbeat})
        await answer.write(head[:-1] + b',"jobs":[' + _jobs(first))
        separator = b"," if first.jobs else b""
        try:
            while True:
                chunk = await feed.next()
                if chunk.jobs:
                    await answer.write(separator + _jobs(chunk))
                    separator = b","
        except FeedEnded:
            if self._calls.draining:
                _cut_off(http)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: half a document is not JSON, and the connection breaks
            problem_of(error)
            self._metrics.count("states_cut_off")
            _cut_off(http)
        await answer.write(b'],"completedTotal":%d}' % header.completed_total)
        await answer.write_eof()
        return answer

    async def _events(self, http: web.BaseRequest, feed: Feed) -> web.StreamResponse:
        # A watch on a quiet queue says nothing for long: an error must come as HTTP, so wait a moment for it.
        frame = await feed.next(within_ms=FIRST_FRAME_MS)
        answer = await _opened(http, "text/event-stream")
        await answer.write(b"retry: 1000\n\n")
        try:
            while True:
                await answer.write(b": quiet\n\n" if frame is None else _sse(frame))
                frame = await feed.next(within_ms=self._comment_ms)
        except FeedEnded:
            pass
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: the reader is told, and connects again
            self._metrics.count("events_dropped")
            await answer.write(b"event: error\ndata: " + encode(problem_of(error).as_json()) + b"\n\n")
        await answer.write_eof()
        return answer


def _resume(request: Any, last: str) -> None:
    try:
        position = read_position(last)
    except ValueError:
        return  # not an id of ours: as good as none
    request.after.epoch, request.after.sequence = position["epoch"], position["sequence"]


async def _first(feed: Feed) -> Any:
    try:
        return await feed.next()
    except FeedEnded:
        raise ConnectionResetError("the gateway stops") from None


async def _opened(http: web.BaseRequest, media: str) -> web.StreamResponse:
    answer = web.StreamResponse(
        headers={**headers_of(http, media), hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"}
    )
    await answer.prepare(http)
    return answer


def _cut_off(http: web.BaseRequest) -> None:
    """Break the connection, so that the reader cannot take a part for the whole."""
    if http.transport is not None:
        http.transport.abort()
    raise ConnectionResetError("the stream broke off")


def _jobs(chunk: Any) -> bytes:
    return encode([_job(job) for job in chunk.jobs])[1:-1]


def _job(job: Message) -> dict[str, Any]:
    """A job of the original state: its keys in its order, the last four only when they are set."""
    written = shape(job.DESCRIPTOR).write(job)
    out: dict[str, Any] = {key: written[key] for key in ("id", "status", "payload", "payloadBase64") if key in written}
    out.update(createdAt=written["createdAt"], attempts=written["attempts"])
    out.update({key: written[key] for key in ("type", "maxAttempts", "workerId", "heartbeat") if written.get(key)})
    return out


def _sse(frame: Any) -> bytes:
    """The lines of one frame. Its position is the id of the last of them: whoever saw that has seen them all."""
    blocks = [b"event: %s\ndata: %s\n" % (name.encode(), encode(data)) for name, data in events_of(frame)]
    if not blocks:
        return b": quiet\n\n"
    if frame.HasField("position"):
        blocks[-1] += b"id: %d.%d\n" % (frame.position.epoch, frame.position.sequence)
    return b"\n".join([*blocks, b""])

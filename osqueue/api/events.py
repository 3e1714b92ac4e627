"""What a watch tells in JSON, event by event: the names and data that server-sent events and WebSockets share."""

from collections.abc import Iterator
from typing import Any

from osqueue.api.json_shapes import read_answer, shape
from osqueue_stubs.osqueue.v1 import queue_pb2


def events_of(frame: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) of everything in one WatchJobsResponse: `resync` first, then each `job`, then `stats`."""
    if frame.HasField("resync"):
        yield "resync", shape(frame.resync.DESCRIPTOR).write(frame.resync)
    for event in frame.events:
        yield "job", shape(event.DESCRIPTOR).write(event)
    if frame.HasField("stats"):
        yield "stats", shape(frame.stats.DESCRIPTOR).write(frame.stats)


def frame_of(event: str, data: bytes) -> queue_pb2.WatchJobsResponse | None:
    """One event as a WatchJobsResponse; None for one that only a newer gateway tells."""
    frame = queue_pb2.WatchJobsResponse()
    if event == "job":
        read_answer(data, frame.events.add())
    elif event in ("stats", "resync"):
        part = getattr(frame, event)
        part.SetInParent()
        read_answer(data, part)
    else:
        return None
    return frame

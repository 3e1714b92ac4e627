"""What a watch tells, event by event: the names and data that server-sent events and WebSockets share."""

from collections.abc import Iterator
from typing import Any

from osqueue_gateway.shapes import shape

FIRST_FRAME_MS = 200
"""How long the answer to a watch is held back for its first frame, or its refusal: a quiet queue sends neither."""


def events_of(frame: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) of everything in one WatchJobsResponse: `resync` first, then each `job`, then `stats`."""
    if frame.HasField("resync"):
        yield "resync", shape(frame.resync.DESCRIPTOR).write(frame.resync)
    for event in frame.events:
        yield "job", shape(event.DESCRIPTOR).write(event)
    if frame.HasField("stats"):
        yield "stats", shape(frame.stats.DESCRIPTOR).write(frame.stats)

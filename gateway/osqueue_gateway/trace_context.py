"""The trace that a request belongs to (W3C Trace Context), handed on in the metadata of the jobs that it submits.

Whoever works a job finds there who sent it, whatever language both are written in. Jobs that tell of a trace themselves
know better, and a header that is malformed is as good as none.
"""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from osqueue_stubs.osqueue.v1 import queue_pb2

PARENT, STATE = "traceparent", "tracestate"
STATE_CHARS_MAX = 512
METADATA_BYTES_MAX = 4_096
"""Of a job that gets a context: one with more of its own could be refused for what it did not ask for."""

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def carry(headers: Mapping[str, str], request: Message) -> None:
    """Write the context of the headers into the jobs of the request, if it submits any."""
    parent = headers.get(PARENT)
    if parent is None or _PARENT.fullmatch(parent) is None:
        return
    context = {PARENT: parent}
    if 0 < len(state := headers.get(STATE, "")) <= STATE_CHARS_MAX and state.isascii() and state.isprintable():
        context[STATE] = state
    if isinstance(request, queue_pb2.SubmitJobRequest):
        _tell(request, context)
    elif isinstance(request, queue_pb2.SubmitJobsRequest):
        for job in request.jobs:
            _tell(job, context)


def _tell(job: Any, context: dict[str, str]) -> None:
    metadata = job.metadata
    if PARENT in metadata:
        return
    if sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) <= METADATA_BYTES_MAX:
        metadata.update(context)

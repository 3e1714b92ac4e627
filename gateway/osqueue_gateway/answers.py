"""What a call answers in REST and WebSocket, where that is more than the response in its JSON form.

An answer is an object for `shapes.encode`, or `NOTHING`: 204 in REST, `{}` in WebSocket.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from osqueue.api.item_errors import from_item_error
from osqueue.api.json_shapes import shape

NOTHING: Final[dict[str, Any]] = {}

Answer = Callable[[Any, Any], dict[str, Any]]
"""(request, response) → object."""

ORIGINAL_SUBMIT = {"payload", "max_attempts", "type"}


def whole(request: Message, response: Message) -> dict[str, Any]:
    """The response."""
    return shape(response.DESCRIPTOR).write(response)


def job_id(request: Message, response: Any) -> dict[str, Any]:
    """`{jobId}` as ever, and the rest of the response to requests that use any of the newer fields."""
    if all(field.name in ORIGINAL_SUBMIT for field, _ in request.ListFields()):
        return {"jobId": response.job_id}
    return whole(request, response)


def nothing_without_token(request: Any, response: Message) -> dict[str, Any]:
    """Nothing, as ever; the response to those who show the token of their lease."""
    return whole(request, response) if request.lease_token else NOTHING


def only_result(request: Message, response: Any) -> dict[str, Any]:
    """The outcome of a batch of one, or its error."""
    (result,) = response.results
    outcome = result.WhichOneof("outcome")
    if outcome == "error":
        raise from_item_error(result.error)
    found: Message = getattr(result, outcome)
    return shape(found.DESCRIPTOR).write(found)


def throttling(request: Message, response: Any) -> dict[str, Any]:
    """How requests to the object store are throttled, as ever."""
    if not response.HasField("throttle"):
        return {"throttling": False}
    return shape(response.throttle.DESCRIPTOR).write(response.throttle)

"""How the gateway calls what the table of RPCs holds: REST route ↔ RPC ↔ WebSocket method ↔ Connect path.

A new RPC is written in the proto, its REST routes with it. Its WebSocket method is its name with a small first letter,
its Connect path follows from its service; its JSON, its query parameters and its page in /docs from its messages.
Here stands only what some routes answer otherwise than the response in its JSON form.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from osqueue.api.item_errors import from_item_error
from osqueue.api.json_shapes import shape
from osqueue_protocol.rpcs import CLIENT_RPCS, Rpc

NOTHING: Final[dict[str, Any]] = {}
"""204 in REST, `{}` in WebSocket."""

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


@dataclass(frozen=True, slots=True)
class Route:
    """One REST route. `answer` shapes what it returns; `id_field` is the field that takes the path's {id}, beside which
    the broker does not take the fields in `hidden`."""

    rpc: Rpc
    method: str
    path: str
    answer: Answer = whole
    id_field: str = ""
    hidden: tuple[str, ...] = ()

    def given(self, identifier: str) -> dict[str, Any] | None:
        """The request's fields that the path holds."""
        if not self.id_field:
            return None
        repeated = self.rpc.request.DESCRIPTOR.fields_by_name[self.id_field].is_repeated
        return {self.id_field: [identifier] if repeated else identifier}


class Manner(NamedTuple):
    """What a route answers, where that is not the whole response, and the fields of its RPC that it does not take."""

    answer: Answer
    hidden: tuple[str, ...] = ()


MANNERS = {
    "POST /v1/jobs": Manner(job_id),
    "POST /v1/jobs/{id}/heartbeat": Manner(nothing_without_token),
    "POST /v1/jobs/{id}/complete": Manner(nothing_without_token),
    "POST /v1/jobs/{id}/retry": Manner(only_result, ("filter", "page_token")),
    "GET /v1/throttle-stats": Manner(throttling),
}
_WHOLE = Manner(whole)


def _routes(rpc: Rpc) -> list[Route]:
    routes = []
    for route in rpc.routes:
        manner = MANNERS.get(f"{route.method} {route.path}", _WHOLE)
        routes.append(Route(rpc, route.method, route.path, manner.answer, route.path_field, manner.hidden))
    return routes


ROUTES = tuple(route for rpc in CLIENT_RPCS.values() for route in _routes(rpc))

WS_METHODS = {
    route.rpc.name[0].lower() + route.rpc.name[1:]: route
    for route in reversed(ROUTES)  # of two routes to one RPC the first is its method
    if not route.rpc.server_streaming
}

CONNECT_PATHS = {rpc.path: rpc for rpc in CLIENT_RPCS.values()}

_WITH_ID = re.compile(
    r"(/v1/jobs/)([0-9A-Za-z_-]{1,64})((?:/[a-z]+)?)"
    r"|(/v1/(?!jobs/)[a-z]+/)([0-9A-Za-z._-]{1,128})((?:/[a-z]+)?)"
)
"""A job's path, and that of anything else that has a name; names may be longer than ids."""

_BY_PATH: dict[str, dict[str, Route]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route


def find(path: str) -> tuple[dict[str, Route], str]:
    """The routes of a path by method, and the id in it. A path is compared as it came, neither decoded nor tidied."""
    routes = _BY_PATH.get(path)
    if routes is not None:
        return routes, ""
    match = _WITH_ID.fullmatch(path)
    if match is None:
        return {}, ""
    before, identifier, behind = (part for part in match.groups() if part is not None)
    return _BY_PATH.get(f"{before}{{id}}{behind}", {}), identifier

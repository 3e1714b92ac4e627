"""The table of everything that is a call to the broker: RPC ↔ REST route ↔ WebSocket method ↔ Connect path.

A new RPC is a new row. Its WebSocket method is its name with a small first letter, its Connect path follows from its
service, and its JSON, its query parameters and its page in /docs follow from the proto.
"""

import re
from dataclasses import dataclass
from typing import Any

from osqueue_gateway.answers import Answer, job_id, nothing_without_token, only_result, throttling, whole
from osqueue_gateway.rpcs import RPCS, Rpc


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

    @property
    def mutates(self) -> bool:
        return self.method == "POST"

    def given(self, identifier: str) -> dict[str, Any] | None:
        """The request's fields that the path holds."""
        if not self.id_field:
            return None
        repeated = self.rpc.request.DESCRIPTOR.fields_by_name[self.id_field].is_repeated
        return {self.id_field: [identifier] if repeated else identifier}


def _row(
    name: str,
    method: str,
    path: str,
    answer: Answer = whole,
    id_field: str = "job_id",
    hidden: tuple[str, ...] = (),
) -> Route:
    return Route(RPCS[name], method, path, answer, id_field if "{id}" in path else "", hidden)


ROUTES = (
    _row("SubmitJob", "POST", "/v1/jobs", job_id),
    _row("SubmitJobs", "POST", "/v1/batch/submit"),
    _row("ClaimJob", "POST", "/v1/jobs/claim"),
    _row("ClaimJobs", "POST", "/v1/batch/claim"),
    _row("Heartbeat", "POST", "/v1/jobs/{id}/heartbeat", nothing_without_token),
    _row("HeartbeatJobs", "POST", "/v1/batch/heartbeat"),
    _row("CompleteJob", "POST", "/v1/jobs/{id}/complete", nothing_without_token),
    _row("CompleteJobs", "POST", "/v1/batch/complete"),
    _row("FailJob", "POST", "/v1/jobs/{id}/fail"),
    _row("ReleaseJob", "POST", "/v1/jobs/{id}/release"),
    _row("GetJob", "GET", "/v1/jobs/{id}"),
    _row("WaitJob", "GET", "/v1/jobs/{id}/wait"),
    _row("ListJobs", "GET", "/v1/jobs"),
    _row("CancelJob", "POST", "/v1/jobs/{id}/cancel"),
    _row("CancelJobs", "POST", "/v1/batch/cancel"),
    _row("RetryJobs", "POST", "/v1/batch/retry"),
    _row("RetryJobs", "POST", "/v1/jobs/{id}/retry", only_result, "job_ids", ("filter", "page_token")),
    _row("ExplainJob", "GET", "/v1/jobs/{id}/explain"),
    _row("GetStats", "GET", "/v1/stats"),
    _row("WatchJobs", "GET", "/v1/events"),
    _row("GetState", "GET", "/state"),
    _row("GetStorageStats", "GET", "/v1/admin/storage"),
    _row("GetStorageStats", "GET", "/v1/throttle-stats", throttling),
    _row("GetHistory", "GET", "/v1/admin/history"),
    _row("PauseTypes", "POST", "/v1/admin/pause"),
    _row("ResumeTypes", "POST", "/v1/admin/resume"),
    _row("ListWorkers", "GET", "/v1/admin/workers"),
    _row("GroupDead", "GET", "/v1/admin/dead"),
    _row("Purge", "POST", "/v1/admin/purge"),
    _row("StepDown", "POST", "/v1/admin/step-down"),
)

WS_METHODS = {
    route.rpc.name[0].lower() + route.rpc.name[1:]: route
    for route in reversed(ROUTES)  # of two routes to one RPC the first is its method
    if not route.rpc.server_streaming
}

CONNECT_PATHS = {f"/{rpc.service}/{rpc.name}": rpc for rpc in RPCS.values()}

_MUTATING = {route.rpc.name for route in ROUTES if route.mutates}

_WITH_ID = re.compile(r"(/v1/jobs/)([0-9A-Za-z_-]{1,64})((?:/[a-z]+)?)")

_BY_PATH: dict[str, dict[str, Route]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route


def mutates(rpc: Rpc) -> bool:
    """Whether the RPC changes anything."""
    return rpc.name in _MUTATING


def find(path: str) -> tuple[dict[str, Route], str]:
    """The routes of a path by method, and the id in it. A path is compared as it came, neither decoded nor tidied."""
    routes = _BY_PATH.get(path)
    if routes is not None:
        return routes, ""
    match = _WITH_ID.fullmatch(path)
    if match is None:
        return {}, ""
    return _BY_PATH.get(f"{match[1]}{{id}}{match[3]}", {}), match[2]

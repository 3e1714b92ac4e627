"""/openapi.json: the REST routes, generated from the table of routes and the comments of the proto."""

import re
from importlib import metadata
from typing import Any

from google.protobuf.descriptor import Descriptor

from osqueue.api.descriptors import is_map
from osqueue.api.queries import POSITION, Parameter, query_shape
from osqueue_gateway.errors import FAULTS
from osqueue_gateway.routes import ROUTES, Route, job_id, nothing_without_token, only_result, throttling
from osqueue_gateway.schemas import Form, Schema, Schemas, comment
from osqueue_protocol.comments import comments
from osqueue_stubs.osqueue.v1.job_pb2 import JobInfo

JSON = "application/json"

COMMON = (400, 401, 403, 429, 500, 501, 503)
WITH_BODY = (408, 413, 415)

ID_PARAMETER = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The job's id.",
    "schema": {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"},
}

STATUS_TEXTS = {
    400: "The request is malformed; `violations` names the keys.",
    401: "The call carries no valid bearer token.",
    403: "The caller may not call: from another machine without a token, or from a page that is not allowed.",
    404: "Nothing has this id, or no queue this name.",
    408: "The request did not arrive in time.",
    409: "The lease is lost, or the idempotency key was used with other content.",
    413: "The request, its payload or its result is too large.",
    415: "The request is not application/json.",
    429: "The queue, the broker or the gateway is at a limit.",
    500: "A defect; the message shows the id under which it was logged.",
    501: "The broker does not serve this yet; the message says what to use instead.",
    503: "No broker leads, storage does not answer, or the outcome is unknown; try again.",
}

INTRODUCTION = """A durable job queue. Times are milliseconds since the Unix epoch, durations are milliseconds. A
payload is any JSON and comes back as the very text that was sent; bytes that are not JSON go into `payloadBase64`.
Unknown keys are refused. The same calls exist as WebSocket JSON-RPC on /v1/ws, over Connect under
/osqueue.v1.QueueService/, and over gRPC on the broker."""


def document() -> dict[str, Any]:
    """The whole document."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    paths.update(_pages())
    schemas.components["Error"] = _error()
    return {
        "openapi": "3.1.0",
        "info": {"title": "osqueue", "version": metadata.version("osqueue"), "description": _flat(INTRODUCTION)},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "OSQUEUE_TOKEN"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    rpc = route.rpc
    request: Any = rpc.request.DESCRIPTOR
    about, errors = _about(f"{rpc.service}.{rpc.name}")
    path_words = re.findall(r"[a-z]+", route.path.removeprefix("/v1/"))
    first = next(other for other in ROUTES if other.rpc is rpc)
    operation: dict[str, Any] = {
        "operationId": rpc.name if route is first else f"{rpc.name}_{'_'.join(path_words)}",
        "summary": about.split(". ")[0].rstrip(".") + ".",
        "description": about,
        "tags": [rpc.service.rpartition(".")[2]],
    }
    given = frozenset([route.id_field, *route.hidden]) if route.id_field else frozenset()
    parameters = [ID_PARAMETER] if route.id_field else []
    if route.rpc.mutates:
        body = schemas.request(request, given)
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    else:
        parameters += _parameters(request, given, schemas)
    if parameters:
        operation["parameters"] = parameters
    names_something = route.id_field or "queue" in request.fields_by_name
    statuses = {*COMMON, *(WITH_BODY if route.rpc.mutates else ()), *([404] if names_something else [])}
    statuses.update(FAULTS[reason].status for reason in errors)
    operation["responses"] = _answers(route, schemas) | {
        str(status): {"description": STATUS_TEXTS[status], "content": _error_content()} for status in sorted(statuses)
    }
    return operation


def _about(full_name: str) -> tuple[str, list[str]]:
    """An RPC's comment, and the reasons that its `Errors:` line names."""
    text, _, errors = comments()[full_name].partition("Errors:")
    named = [reason for reason in re.findall(r"[A-Z_]{6,}", errors) if reason in FAULTS]
    return comment(full_name) if not text else _flat(text) + (f" Errors:{_flat(errors)}" if errors else ""), named


def _answers(route: Route, schemas: Schemas) -> dict[str, Any]:
    response: Any = route.rpc.response.DESCRIPTOR
    if route.rpc.name == "GetState":
        return {"200": {"description": "The state, streamed.", "content": {JSON: {"schema": _state(schemas)}}}}
    if route.rpc.name == "WatchJobs":
        about = "Events named resync, job, stats and error; their data is JSON, their id a position to go on from."
        return {"200": {"description": about, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    schema = schemas.response(response)
    if route.answer is job_id:
        schema = {"type": "object", "required": ["jobId"], "properties": _properties_of(schemas, response)}
    elif route.answer is throttling:
        off = {"type": "object", "required": ["throttling"], "properties": {"throttling": {"const": False}}}
        schema = {"anyOf": [off, schemas.response(response.fields_by_name["throttle"].message_type)]}
    elif route.answer is only_result:
        outcome = response.fields_by_name["results"].message_type.oneofs_by_name["outcome"]
        schema = schemas.response(outcome.fields[0].message_type)
    answers = {"200": {"description": comment(response.full_name), "content": {JSON: {"schema": schema}}}}
    if route.answer is nothing_without_token:
        answers["204"] = {"description": "Done; the request showed no lease token."}
    return answers


def _properties_of(schemas: Schemas, descriptor: Descriptor) -> dict[str, Schema]:
    found: dict[str, Schema] = schemas.components[descriptor.name]["properties"]
    return found


def _parameters(descriptor: Descriptor, given: frozenset[str], schemas: Schemas) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": _about_parameter(parameter), "schema": schema}
        for name, parameter in query_shape(descriptor).parameters.items()
        if parameter.field.name not in given
        for schema in [_parameter_schema(parameter, schemas)]
    ]


def _about_parameter(parameter: Parameter) -> str:
    about = comment(parameter.field.full_name)
    if is_map(parameter.field):
        return f"{about} Each as key=value."
    if parameter.field.message_type is not None:
        return f"{about} As epoch.sequence."
    return about


def _parameter_schema(parameter: Parameter, schemas: Schemas) -> Schema:
    field = parameter.field
    if is_map(field):
        return {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
    if field.message_type is not None and field.message_type.full_name == POSITION:
        return {"type": "string", "pattern": r"^[0-9]{1,18}\.[0-9]{1,18}$"}
    return schemas.field(field, Form.CALL)


def _state(schemas: Schemas) -> Schema:
    descriptor: Any = JobInfo.DESCRIPTOR
    schemas.response(descriptor)
    job = _properties_of(schemas, descriptor)
    keys = (
        "id",
        "status",
        "payload",
        "payloadBase64",
        "createdAt",
        "attempts",
        "type",
        "maxAttempts",
        "workerId",
        "heartbeat",
    )
    jobs = {
        "type": "object",
        "required": ["id", "status", "createdAt", "attempts"],
        "properties": {key: job[key] for key in keys},
    }
    number = {"type": "integer", "format": "int64"}
    return {
        "type": "object",
        "required": ["broker", "brokerHeartbeat", "jobs", "completedTotal"],
        "properties": {
            "broker": {"type": "string", "description": comment("osqueue.v1.StateHeader.broker")},
            "brokerHeartbeat": {**number, "description": comment("osqueue.v1.StateHeader.broker_heartbeat")},
            "jobs": {"type": "array", "items": jobs},
            "completedTotal": {**number, "description": comment("osqueue.v1.StateHeader.completed_total")},
        },
    }


def _error() -> Schema:
    violation = {
        "type": "object",
        "required": ["field", "description"],
        "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
    }
    return {
        "type": "object",
        "description": "Why a call failed.",
        "required": ["_tag", "message", "reason"],
        "properties": {
            "_tag": {"type": "string", "enum": sorted({fault.tag for fault in FAULTS.values()})},
            "message": {"type": "string", "description": "For a person: what happened, and what to do."},
            "reason": {"type": "string", "enum": list(FAULTS)},
            "violations": {"type": "array", "items": violation, "description": "The keys that were wrong."},
            "retryAfterMs": {"type": "integer", "description": "When trying again can help."},
            "leader": {"type": "string", "description": "The leader's gRPC address, when another broker leads."},
        },
    }


def _error_content() -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}


def _pages() -> dict[str, Any]:
    def page(name: str, about: str, media: str, *statuses: int, schema: Schema | None = None) -> dict[str, Any]:
        answers: dict[str, Any] = {"200": {"description": about, "content": {media: {"schema": schema or {}}}}}
        for status in statuses:
            answers[str(status)] = {"description": STATUS_TEXTS[status], "content": _error_content()}
        return {"get": {"operationId": name, "summary": about, "tags": ["Gateway"], "responses": answers}}

    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    text = {"type": "string"}
    return {
        "/healthz": page("healthz", "The gateway's process lives.", JSON, schema=status),
        "/readyz": page("readyz", "A broker leads and is reached.", JSON, 503, schema=status),
        "/metrics": page("metrics", "The gateway's figures for Prometheus.", "text/plain", 401, 403, schema=text),
        "/openapi.json": page("openapi", "This document.", JSON, 401, 403, schema={"type": "object"}),
        "/docs": page("docs", "This document for people.", "text/html", 401, 403, schema=text),
    }


def _flat(text: str) -> str:
    return " ".join(text.split())

"""No field of a request is passed over in silence: each is read by the RPC's handler, or named here with the reason.

Every RPC is called with requests that have something in every field, through a stand-in that remembers what was read.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from osqueue_protocol.rpcs import CLIENT_RPCS, QUEUE_FIELD, Rpc
from osqueue_service.app import App
from osqueue_service.clock import SystemClock
from osqueue_service.errors import OsqueueError
from osqueue_service.ids import SystemIds
from osqueue_service.rpc.services import add_services
from osqueue_stubs.osqueue.v1 import job_pb2, schedules_pb2
from tests.filling import fill

_HEARD = "the broker says itself when it heard of progress"
_TOKEN = "not remembered: an item of a stream is known by its token"
_WHOLE = "a follow-up that asks to be unique is refused, however it does"
LEFT_OUT = {
    ("Heartbeat", "osqueue.v1.Progress.updated_at"): _HEARD,
    ("HeartbeatJobs", "osqueue.v1.Progress.updated_at"): _HEARD,
    ("Work", "osqueue.v1.Progress.updated_at"): _HEARD,
    ("Work", "osqueue.v1.CompleteJobRequest.request_id"): _TOKEN,
    ("Work", "osqueue.v1.FailJobRequest.request_id"): _TOKEN,
    ("Work", "osqueue.v1.ReleaseJobRequest.request_id"): _TOKEN,
    **{("Work", f"osqueue.v1.Unique.{field.name}"): _WHOLE for field in job_pb2.Unique.DESCRIPTOR.fields},
}
"""Fields that a handler does not read on purpose, by RPC, and why."""


class Watched:
    """A message that passes for itself, and remembers which of its fields were read."""

    def __init__(self, message: Any, read: set[str]) -> None:
        self._message = message
        self._read = read

    @property
    def __class__(self) -> Any:  # isinstance sees the message
        return type(self._message)

    def __getattr__(self, name: str) -> Any:
        field = self._message.DESCRIPTOR.fields_by_name.get(name)
        value = getattr(self._message, name)
        if field is None:
            return value
        self._read.add(field.full_name)
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            return value
        if field.is_repeated:
            return [Watched(each, self._read) for each in value]
        return Watched(value, self._read)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_message", "_read"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._message, name, value)


def fields_of(message: Descriptor) -> Iterator[str]:
    """The full names of all fields of a message and of the messages in it."""
    for field in message.fields:
        yield field.full_name
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from fields_of(field.message_type)


class Servicers:
    """Takes what handlers take, and keeps the methods."""

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}

    def add(self, service: Any, implementations: Any, **options: Any) -> None:
        for method in service.methods:
            (one,) = [each for each in implementations if hasattr(each, method.name)]
            self.methods[method.name] = getattr(one, method.name)


class Context:
    """A call without a deadline."""

    def time_remaining(self) -> None:
        return None


TEMPLATE = {
    "payload": b"x",
    "max_attempts": 1,
    "retention_ms": 1,
    "retry_policy": {"initial_ms": 1, "multiplier": 2, "max_ms": 2},
}
FOLLOW_UP = {
    **TEMPLATE,
    "submit_on_dead": TEMPLATE,
    "limits": [{"limit": "l", "key": "k", "cost": 1}],
}
HELD = {"job_id": "nope", "lease_token": "t"}
REPORTED = {"usage": [{"limit": "calls", "used": 1}], "limit_backoff": [{"limit": "calls", "ms": 1}]}
# Requests that get further than one with something in every field: a handler may stop at the first that is wrong.
FURTHER: dict[str, list[dict[str, Any]]] = {
    "SubmitJobs": [
        {"jobs": [{"payload": b"x", "request_id": "r", "retry_policy": {"initial_ms": 1}}], "atomic": each}
        for each in (True, False)
    ],
    "ListJobs": [{"page_token": "x", "page_size": 1, "filter": {"statuses": ["dead"]}}],
    "WatchJobs": [{"after": {"epoch": 1, "sequence": 1}, "stats_interval_ms": 100}],
    "ListBatches": [{"page_token": "x", "page_size": 1}],
    "ListQueues": [{"page_token": "x", "page_size": 1}, {"page_size": 1}],
    "DeleteQueue": [{"name": "emails", "confirm": "emails"}],
    "ListWorkflows": [{"page_token": "x", "page_size": 1}],
    "GroupDead": [{"max_groups": 1}],
    "DeleteLimit": [{"name": "calls"}],
    "PutLimit": [{"limit": {"name": "calls", "max_running": 1}}],
    "ListLimitKeys": [{"name": "calls"}],
    "ListTokens": [{"page_size": 1}],
    "Work": [
        {
            "open": {"worker_id": "w", "slots": 1, "lease_ms": 1_000, "held": [HELD]},
            "completions": [{**HELD, "result": b"x", "follow_ups": [FOLLOW_UP], **REPORTED}],
            "failures": [{**HELD, "error": {"type": "E", "message": "m"}, "retryable": True, "retry_delay_ms": 1}],
            "releases": [HELD],
            "slots": 1,
            "heartbeats": [{**HELD, "progress": {"fraction": 0.5, "message": "m"}, "running_ms": 1}],
        },
        {
            "open": {"worker_id": "w", "slots": 1},
            "completions": [{**HELD, "follow_ups": [{"payload": b"x", "unique": {"key": "k"}}]}],
        },
    ],
}
_FILLED = schedules_pb2.Schedule()
fill(_FILLED)
_CRON = schedules_pb2.Schedule(cron="@daily", time_zone="UTC")
FURTHER["PutSchedule"] = [{"schedule": _CRON}]
FURTHER["PreviewSchedule"] = [{"schedule": _FILLED}, {"schedule": _CRON}]
FURTHER["UpdateJobs"] = [
    {"job_ids": ["nope"], "run_at": 1, "payload": b"x", "labels": {"metadata": {"a": "b"}}, "dry_run": True},
    {"filter": {}, "priority": 1, "page_token": "x"},
]
for name in ("CancelJobs", "RetryJobs", "RunJobs", "Purge"):
    FURTHER[name] = [{"filter": {}, "page_token": "x"}, {"job_ids": ["nope"], "dry_run": True}]


def requests_of(rpc: Rpc) -> Iterator[Any]:
    full = rpc.request()
    fill(full)
    yield full
    for fields in FURTHER.get(rpc.name, ()):
        yield rpc.request(**fields)


async def ask(rpc: Rpc, method: Any, request: Watched) -> None:
    async def frames() -> AsyncIterator[Watched]:
        yield request

    with suppress(OsqueueError, TimeoutError):
        async with asyncio.timeout(0.5):
            called = method(frames() if rpc.client_streaming else request, Context())
            if not rpc.server_streaming:
                await called
                return
            async for _ in called:
                pass


def unread(rpc: Rpc, read: set[str]) -> set[str]:
    """Beside the queue: for whom a request is has been decided before a handler is called (rpc/routes.py)."""
    return {
        name
        for name in fields_of(rpc.request.DESCRIPTOR)
        if name not in read and not name.endswith(f".{QUEUE_FIELD}") and (rpc.name, name) not in LEFT_OUT
    }


@pytest.mark.parametrize("rpc", CLIENT_RPCS.values(), ids=CLIENT_RPCS.keys())
async def test_every_field_of_a_request_is_read(app: App, rpc: Rpc) -> None:
    servicers = Servicers()
    add_services(servicers, app.broker, app.storage, app.tokens, SystemClock(), SystemIds(), asks=True)  # type: ignore[arg-type]
    read: set[str] = set()
    for request in requests_of(rpc):
        await ask(rpc, servicers.methods[rpc.name], Watched(request, read))
    assert unread(rpc, read) == set()


def test_what_is_left_out_exists() -> None:
    known = {(rpc.name, name) for rpc in CLIENT_RPCS.values() for name in fields_of(rpc.request.DESCRIPTOR)}
    assert LEFT_OUT.keys() <= known

"""What a broker says of itself, leading or standing by."""

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from osqueue_service.rpc.queue_service.info import Info
from osqueue_stubs.osqueue.v1 import queue_pb2

NOBODY: Any = None


@pytest.mark.parametrize("leads", [True, False])
async def test_a_standby_answers_too(leads: bool) -> None:
    broker: Any = SimpleNamespace(is_leader=leads, leader_address="b:8081")
    answer = await Info(broker).GetInfo(queue_pb2.GetInfoRequest(), NOBODY)
    assert (answer.release, answer.leads, answer.leader_address) == (metadata.version("osqueue"), leads, "b:8081")


async def test_the_fields_are_those_of_requests_and_their_parts() -> None:
    broker: Any = SimpleNamespace(is_leader=True, leader_address="")
    fields = list((await Info(broker).GetInfo(queue_pb2.GetInfoRequest(), NOBODY)).fields)
    assert fields == sorted(set(fields))
    assert {"SubmitJobRequest.payload", "RetryPolicy.jitter", "WorkOpen.slots", "PurgeRequest.filter"} <= set(fields)
    assert not any(field.startswith(("JobInfo.", "AttendRequest.")) for field in fields)
